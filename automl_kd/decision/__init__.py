"""The page for the person who decides whether the student is shipped. May import `experiment` and below."""

from automl_kd.decision.candidates import MeasuredLatencies
from automl_kd.decision.page import DecisionPage, write_decision_page

__all__ = ["DecisionPage", "MeasuredLatencies", "write_decision_page"]
