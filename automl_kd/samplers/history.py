"""The outcomes that a sampler has, by index, so that order and repetition make no difference."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from automl_kd.errors import ConfigError
from automl_kd.registry import suggestion
from automl_kd.samplers.base import SearchObjective
from automl_kd.space import Architecture
from automl_kd.spec import INT8_ACCURACY, Outcome

T = TypeVar("T")


@dataclass(frozen=True)
class Observation:
    """An outcome as a sampler sees it. `losses`: one per objective, finite, less is better.

    `stopped`: the epoch at which a scheduler ended the trial, or None if it is complete.
    """

    index: int
    architecture: Architecture
    losses: tuple[float, ...]
    stopped: int | None = None

    @property
    def tier(self) -> tuple[int, int]:
        """Complete trials first, then stopped ones, the longest first: a scheduler stops what promises least.

        Losses are compared within a tier only, since they rise and fall with the number of epochs.
        """
        return (0, 0) if self.stopped is None else (1, -self.stopped)

    @property
    def merit(self) -> tuple[tuple[int, int], float]:
        """Sorts by the first objective, the best first."""
        return (self.tier, self.losses[0])


def judge_outcome(
    index: int, architecture: Architecture, outcome: Outcome, objectives: Sequence[SearchObjective]
) -> Observation | None:
    """The outcome in terms of the objectives, or None where nothing can be learnt from it.

    That is so for failed trials, for stopped ones that had not yet reported every objective, for complete ones whose
    student could not be quantised, and for values that are not finite. A complete trial without another metric means
    that the experiment names a wrong one: `ConfigError`.
    """
    missing = [objective.name for objective in objectives if objective.name not in outcome.metrics]
    unknown = [name for name in missing if name != INT8_ACCURACY]
    if unknown and outcome.status == "complete":
        raise ConfigError(
            f"no metric is called {unknown[0]!r}, which is an objective; {suggestion(unknown[0], outcome.metrics)}"
        )
    if missing or outcome.status == "failed":
        return None
    losses = tuple(objective.loss(outcome.metrics[objective.name]) for objective in objectives)
    if not all(map(math.isfinite, losses)):
        return None
    return Observation(index, architecture, losses, outcome.epoch if outcome.status == "stopped" else None)


class History:
    """Outcomes by index."""

    def __init__(self) -> None:
        self._observed: dict[int, Observation] = {}
        self._derived: dict[Callable[[Sequence[Observation]], Any], Any] = {}

    def add(self, index: int, observed: Observation | None) -> None:
        """Remember an outcome; None forgets an earlier outcome of `index`."""
        self._derived.clear()
        self._observed.pop(index, None)
        if observed is not None:
            self._observed[index] = observed

    def derive(self, function: Callable[[Sequence[Observation]], T]) -> T:
        """`function` of the outcomes in order of their index, computed once until the next outcome."""
        if function not in self._derived:
            self._derived[function] = function([self._observed[index] for index in sorted(self._observed)])
        return cast(T, self._derived[function])
