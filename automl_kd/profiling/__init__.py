"""The user's device: what networks of a space take there, measured once, and predicted from then on.

May import `export` and below. Prediction needs neither onnx nor onnxruntime.
"""

from automl_kd.profiling.device_profile import DeviceProfile, fit_profile
from automl_kd.profiling.measuring import measure_folder
from automl_kd.profiling.preparing import ProfilePlan, is_prepared, open_sizes, prepare_folder

__all__ = [
    "DeviceProfile",
    "ProfilePlan",
    "fit_profile",
    "is_prepared",
    "measure_folder",
    "open_sizes",
    "prepare_folder",
]
