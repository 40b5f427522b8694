"""A wrapper that keeps a sampler's candidates within budgets and other conditions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from automl_kd.samplers.base import Exhausted, Sampler
from automl_kd.space import Architecture
from automl_kd.spec import Outcome


@dataclass(frozen=True, eq=False)
class Feasible:
    """The first candidate of `inner` that `allowed` lets pass, among `attempts` (at least 1) for each draw."""

    inner: Sampler
    allowed: Callable[[Architecture], bool]
    attempts: int = 200

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts must be at least 1, got {self.attempts}")

    def ask(self, index: int, draw: int = 0) -> Architecture:
        for attempt in range(draw * self.attempts, (draw + 1) * self.attempts):
            candidate = self.inner.ask(index, attempt)
            if self.allowed(candidate):
                return candidate
        raise Exhausted(
            f"none of {self.attempts} candidates for proposal {index} was allowed; "
            "widen the budget or ask for fewer trials"
        )

    def tell(self, index: int, architecture: Architecture, outcome: Outcome) -> None:
        self.inner.tell(index, architecture, outcome)
