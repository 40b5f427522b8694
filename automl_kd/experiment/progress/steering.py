"""Whoever runs an experiment within a time decides how long its search goes on, and how long its finals are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from automl_kd.config import Finalists
    from automl_kd.experiment.context import ExperimentContext


class Steering(Protocol):
    """Asked by the stages of a search, in the process that runs them."""

    def may_propose(self, context: ExperimentContext, begun: int) -> bool:
        """Whether the search, which has begun so many trials, may begin another one."""

    def settle_finals(self, context: ExperimentContext) -> Finalists:
        """The comparison at the end, once the search has ended; the same again in a session that continues it."""


class Unsteered:
    """The search has all its trials, and the finals are as the experiment says."""

    def may_propose(self, context: ExperimentContext, begun: int) -> bool:  # noqa: ARG002 - as of `Steering`
        return True

    def settle_finals(self, context: ExperimentContext) -> Finalists:
        return context.experiment.finalists
