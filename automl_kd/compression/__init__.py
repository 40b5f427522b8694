"""From a teacher, images and hours to an experiment that fits into them. May import `experiment` and below."""

from automl_kd.compression.kept_plan import KeptPlan, open_plan
from automl_kd.compression.plan import CompressPlan
from automl_kd.compression.planning import make_plan
from automl_kd.compression.request import CompressRequest
from automl_kd.compression.sentences import forecast_seconds, plan_lines
from automl_kd.compression.timekeeper import Timekeeper

__all__ = [
    "CompressPlan",
    "CompressRequest",
    "KeptPlan",
    "Timekeeper",
    "forecast_seconds",
    "make_plan",
    "open_plan",
    "plan_lines",
]
