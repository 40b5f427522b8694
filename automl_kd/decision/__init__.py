"""The page for the person who decides whether the student is shipped. May import `experiment` and below."""

from automl_kd.decision.candidates import JudgedExperiment, MeasuredLatencies
from automl_kd.decision.page import DecisionPage, write_decision_page
from automl_kd.decision.recommendation import Recommendation, recommend_candidate

__all__ = [
    "DecisionPage",
    "JudgedExperiment",
    "MeasuredLatencies",
    "Recommendation",
    "recommend_candidate",
    "write_decision_page",
]
