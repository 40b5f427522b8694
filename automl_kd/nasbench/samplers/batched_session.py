"""A batched session: runs one trial of every seed of a search at a time, and keeps the history.

A trial is one training of one architecture, looked up. A repeated trial counts, but takes no time. Proxies help in two
ways: each proposal may be the best of a pool by its score, and the first proposals may be the best of a random sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from automl_kd.nasbench.samplers.bench import Bench
from automl_kd.nasbench.samplers.draws import Integers, Reals, SeededDraws

Mask = NDArray[np.bool_]

NOTHING = -1
"""In a history, in place of an architecture: this seed's time was used up."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Guidance:
    """How candidates are picked.

    `tries`: of this many candidates the first new one is tried; 1 takes the first. `score`: of every architecture,
    higher promises better, NaN last. With `pool` above 0, the best new one of `pool` candidates is tried instead. With
    `warm` above 0, the first `warm` trials are the best of `sample` random architectures. `seconds`: time of one score.
    """

    tries: int = 8
    score: Reals | None = None
    pool: int = 0
    warm: int = 0
    sample: int = 1000
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if min(self.tries, self.sample) < 1 or min(self.pool, self.warm) < 0:
            raise ValueError(f"tries and sample must be 1 or more, pool and warm 0 or more, got {self}")
        if (self.pool or self.warm) and self.score is None:
            raise ValueError("a pool or a warm start needs a score")


class BatchedHistory(NamedTuple):
    """The trials in order, shape (seeds, trials) each.

    `rows`: architectures, or `NOTHING` once a seed's time was up. `rungs`: which of the bench's trainings.
    `seconds`: the time spent when the trial ended. `scored`: scores computed by then.
    """

    rows: Integers
    rungs: NDArray[np.int8]
    seconds: Reals
    scored: Integers


class BatchedSession:
    """One search under way, for all seeds of `draws` in step.

    It ends after `queries` trials, or for a seed whose time exceeds `seconds`.
    """

    def __init__(
        self,
        bench: Bench,
        draws: SeededDraws,
        queries: int,
        *,
        seconds: float = np.inf,
        guidance: Guidance | None = None,
    ) -> None:
        self.bench, self.draws, self.queries, self.limit = bench, draws, queries, seconds
        self.guidance = guidance or Guidance()
        self.lanes = np.arange(len(draws))
        self.step = 0
        self.known = np.zeros((len(draws), len(bench)), dtype=np.int8)
        """For each architecture how many of its trainings, from the shortest on, need no time any more."""
        self.merit = None if self.guidance.score is None else merits(self.guidance.score)
        self.spent = np.zeros(len(draws))
        self.scoring = np.zeros(len(draws), dtype=np.int64)
        """Scores computed for the next trial."""
        self.rows: list[Integers] = []
        self.rungs: list[NDArray[np.int8]] = []
        self.seconds: list[Reals] = []
        self.scored: list[Integers] = []

    @property
    def open(self) -> bool:
        return self.step < self.queries and bool((self.spent < self.limit).any())

    @property
    def width(self) -> int:
        """How many candidates `prefer` should be given."""
        return self.guidance.pool or self.guidance.tries

    @property
    def screened(self) -> bool:
        return self.guidance.pool > 0

    def uniform(self, stream: str, count: int) -> Reals:
        return self.draws.uniform(stream, self.step, count)

    def integers(self, stream: str, below: int, count: int) -> Integers:
        return self.draws.integers(stream, self.step, below, count)

    def is_known(self, rows: Integers) -> Mask:
        """Whether each of `rows` (seeds, k) was tried before, by its seed."""
        known: Mask = self.known[self.lanes[:, None], rows] > 0
        return known

    def prefer(self, candidates: Integers, who: Mask | None = None) -> Integers:
        """Choose each seed's first new one of its `candidates` (seeds, k), or the one with the best score if filtered.

        `who`: the seeds that will try what they get; all if not given. Scores of the others are not counted.
        """
        if not self.screened:
            return self.first_new(candidates)
        self.scoring += candidates.shape[1] if who is None else candidates.shape[1] * who
        return self.best_scored(candidates)

    def first_new(self, candidates: Integers) -> Integers:
        return picked(candidates, (~self.is_known(candidates)).argmax(axis=1))

    def best_scored(self, candidates: Integers) -> Integers:
        """Among equal scores chance decides; known ones come last."""
        assert self.merit is not None
        merit = self.merit[candidates] + self.uniform("ties", candidates.shape[1])
        return picked(candidates, np.where(self.is_known(candidates), merit - len(self.bench), merit).argmax(axis=1))

    def fresh(self, who: Mask | None = None) -> Integers:
        """A random architecture for each seed, picked as `guidance` says; `who` as for `prefer`."""
        guidance = self.guidance
        if self.step >= guidance.warm:
            return self.prefer(self.integers("fresh", len(self.bench), self.width), who)
        self.scoring += guidance.sample if self.step == 0 else 0
        return self.best_scored(self.draws.integers("warm", 0, len(self.bench), guidance.sample))

    def query(self, rows: Integers, rungs: NDArray[np.int8] | None = None) -> Reals:
        """Run one trial for each seed, with the longest training if `rungs` are not given; return the accuracies."""
        bench = self.bench
        rungs = np.full(len(rows), bench.last, dtype=np.int8) if rungs is None else rungs
        working, new = self.spent < self.limit, self.known[self.lanes, rows] <= rungs
        cost = np.stack([seconds[rows] for seconds in bench.seconds])[rungs, self.lanes]
        self.spent = self.spent + np.where(working, new * cost + self.scoring * self.guidance.seconds, 0.0)
        self.known[self.lanes, rows] = np.maximum(self.known[self.lanes, rows], rungs + 1)
        self.rows.append(np.where(working, rows, NOTHING))
        self.rungs.append(rungs)
        self.seconds.append(self.spent)
        self.scored.append(np.where(working, self.scoring, 0))
        self.scoring = np.zeros_like(self.scoring)
        self.step += 1
        answers: Reals = np.stack([accuracy[rows] for accuracy in bench.choose])[rungs, self.lanes]
        return answers

    def history(self) -> BatchedHistory:
        return BatchedHistory(
            np.stack(self.rows, axis=1),
            np.stack(self.rungs, axis=1),
            np.stack(self.seconds, axis=1),
            np.cumsum(np.stack(self.scored, axis=1), axis=1),
        )


def picked(candidates: Integers, places: Integers) -> Integers:
    found: Integers = candidates[np.arange(len(candidates)), places]
    return found


def merits(score: Reals) -> Reals:
    """Ranks from 1, higher for better scores, equal for equal ones, 0 for NaN."""
    known = ~np.isnan(score)
    merit = np.zeros(len(score))
    merit[known] = np.unique(score[known], return_inverse=True)[1] + 1
    return merit
