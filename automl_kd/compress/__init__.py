"""From a teacher, images and hours to an experiment that fits into them. May import `experiment` and below."""

from automl_kd.compress.kept_plan import KeptPlan, open_plan
from automl_kd.compress.plan import CompressPlan
from automl_kd.compress.planning import make_plan
from automl_kd.compress.request import CompressRequest
from automl_kd.compress.sentences import forecast_seconds, plan_lines
from automl_kd.compress.timekeeper import Timekeeper

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
