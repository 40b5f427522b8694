"""The proxy filter around a sampler: of a pool of its candidates it proposes the one with the best score."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from automl_kd.samplers.base import Exhausted, Sampler
from automl_kd.space import Architecture
from automl_kd.spec import Outcome

ScoreFunction = Callable[[Sequence[Architecture]], Sequence[float]]


@dataclass(frozen=True, eq=False)
class Screened:
    """The best of `pool` (at least 1) candidates of `inner` by `score`, which sees them all in one call.

    More is better, a score that is not a number is worst, and the first of equals is taken. Candidates that `inner`
    repeats are scored once, so the pool may hold fewer.
    """

    inner: Sampler
    score: ScoreFunction
    pool: int
    answers: dict[tuple[int, int], Architecture] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.pool < 1:
            raise ValueError(f"pool must be at least 1, got {self.pool}")

    def ask(self, index: int, draw: int = 0) -> Architecture:
        """`Exhausted` if `inner` has not one candidate. Scores once, however often it is asked between outcomes."""
        if (index, draw) not in self.answers:
            candidates = self.candidates(index, draw)
            scores = self.score(candidates)
            if len(scores) != len(candidates):
                raise ValueError(f"a score of {len(candidates)} architectures returned {len(scores)} numbers")
            self.answers[index, draw] = candidates[best_position(scores)]
        return self.answers[index, draw]

    def tell(self, index: int, architecture: Architecture, outcome: Outcome) -> None:
        self.answers.clear()
        self.inner.tell(index, architecture, outcome)

    def candidates(self, index: int, draw: int) -> list[Architecture]:
        """What `inner` has for this draw, each once."""
        found: dict[Architecture, None] = {}
        for position in range(draw * self.pool, (draw + 1) * self.pool):
            try:
                found[self.inner.ask(index, position)] = None
            except Exhausted:
                if not found:
                    raise
                break
        return list(found)


def best_position(scores: Sequence[float]) -> int:
    return max(range(len(scores)), key=lambda i: -math.inf if math.isnan(scores[i]) else scores[i])
