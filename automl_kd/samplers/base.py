"""What a sampler is, what it works towards, and the randomness that belongs to one proposal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from automl_kd.errors import ConfigError
from automl_kd.space import Architecture
from automl_kd.spec import Outcome


class Exhausted(Exception):  # noqa: N818  (nothing went wrong: there may simply be no candidate left)
    """No allowed candidate was found: the space is exhausted, or allowed points are rare in it."""


@dataclass(frozen=True)
class SearchObjective:
    """One metric of an outcome, by its name there ("val_accuracy", "params"), and whether more of it is wanted."""

    name: str
    maximise: bool

    @staticmethod
    def parse(text: str) -> SearchObjective:
        """Read "val_accuracy" (more is better) or "-params" (less is better)."""
        name = text.removeprefix("-")
        if not name or name != name.strip() or name.startswith("-"):
            raise ConfigError(
                f"{text!r} is not an objective; write a metric's name, with a leading minus if less of it is better"
            )
        return SearchObjective(name, maximise=name == text)

    def __str__(self) -> str:
        return self.name if self.maximise else f"-{self.name}"

    def loss(self, value: float) -> float:
        """`value` with its sign turned, if need be, so that less is better."""
        return -value if self.maximise else value


class Sampler(Protocol):
    """Proposes architectures and learns their outcomes, in any order, some never.

    A proposal is a function of (seed, index, draw) and of the set of outcomes so far, whatever their order. So an
    unused candidate costs nothing, and a search resumes by passing its stored outcomes to a fresh sampler.

    An implementation must not keep anything from an `ask`, draw from a global generator, rely on outcomes of every
    proposal or only of its own, fail on an outcome that failed or was stopped, or leave its space.
    """

    def ask(self, index: int, draw: int = 0) -> Architecture:
        """The candidate number `draw` (0, 1, ...) for the proposal number `index` (0, 1, ...) of the search.

        `Exhausted` if there is none.
        """
        ...

    def tell(self, index: int, architecture: Architecture, outcome: Outcome) -> None:
        """Learn the outcome of proposal `index`. Of two outcomes of an index the later counts.

        `ConfigError` if a complete outcome lacks the metric of an objective.
        """
        ...


def candidate_generator(seed: int, index: int, draw: int) -> np.random.Generator:
    """The random numbers of one candidate; all three are non-negative."""
    return np.random.default_rng([seed, index, draw])


def require_single(objectives: Sequence[SearchObjective], sampler: str) -> None:
    """Raise `ConfigError` for several objectives, or none, if a sampler follows one."""
    if len(objectives) != 1:
        got = ", ".join(map(str, objectives)) or "none"
        raise ConfigError(f"sampler {sampler!r} follows one objective, got {got}; name one, or use 'nsga2'")
