"""Regularised (aging) evolution on a table, for one objective and for two.

Real, Aggarwal, Huang, Le. Regularized Evolution for Image Classifier Architecture Search. 2018. arXiv:1802.01548,
algorithm 1. The living are the last `population` that were tried. Repeats are drawn again here, as many times as
the guide says; the paper trains them again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from automl_kd.nasbench.samplers.batched_session import BatchedSession
from automl_kd.nasbench.samplers.draws import Integers, Reals
from automl_kd.spec import require


@dataclass(frozen=True, kw_only=True)
class Evolution:
    """Mutants of tournament winners (Real et al. 2018, arXiv:1802.01548).

    `population` (P), `tournament` (S): at least 1; members of a tournament are drawn with replacement. `parents`: the
    parent is a random one of so many best in the tournament; the paper's rule is 1.
    """

    population: int = 20
    tournament: int = 5
    parents: int = 1

    def __post_init__(self) -> None:
        require(min(self.population, self.tournament) >= 1, "population and tournament must be 1 or more")
        require(1 <= self.parents <= self.tournament, "parents must lie in 1 to the size of a tournament")

    def run(self, session: BatchedSession) -> None:
        living, values = newborn(session, self.population)
        while session.open:
            rows = (
                session.fresh()
                if session.step < self.population
                else session.prefer(self.children(session, living, values))
            )
            place = session.step % self.population
            living[:, place], values[:, place] = rows, session.query(rows)

    def children(self, session: BatchedSession, living: Integers, values: Reals) -> Integers:
        """A mutant each of as many tournaments as the session wants candidates."""
        drawn = drawn_members(session, self.population, self.tournament)
        entered = np.take_along_axis(values, drawn.reshape(len(values), -1), axis=1).reshape(drawn.shape)
        if self.parents == 1:
            place = entered.argmax(axis=2)
        else:
            chosen = session.integers("parent", self.parents, session.width)
            place = np.take_along_axis(np.argsort(-entered, axis=2, kind="stable"), chosen[:, :, None], axis=2)[:, :, 0]
        return mutants(session, winners(living, drawn, place))


@dataclass(frozen=True, kw_only=True)
class Scalarised:
    """Aging evolution of accuracy and latency in one number, whose weights each tournament draws anew.

    Both are scaled to [0, 1] among the living; the share of accuracy is uniform in [0, 1].
    """

    population: int = 20
    tournament: int = 5

    def __post_init__(self) -> None:
        require(min(self.population, self.tournament) >= 1, "population and tournament must be 1 or more")

    def run(self, session: BatchedSession) -> None:
        living, _ = newborn(session, self.population)
        while session.open:
            rows = session.fresh() if session.step < self.population else session.prefer(self.children(session, living))
            living[:, session.step % self.population] = rows
            session.query(rows)

    def children(self, session: BatchedSession, living: Integers) -> Integers:
        losses = session.bench.losses[living]
        low, high = losses.min(axis=1, keepdims=True), losses.max(axis=1, keepdims=True)
        scaled = (losses - low) / np.maximum(high - low, 1e-12)
        drawn = drawn_members(session, self.population, self.tournament)
        entered = scaled[session.lanes[:, None, None], drawn]
        share = session.uniform("weights", session.width)[:, :, None]
        place = (share * entered[..., 0] + (1 - share) * entered[..., 1]).argmin(axis=2)
        return mutants(session, winners(living, drawn, place))


def newborn(session: BatchedSession, population: int) -> tuple[Integers, Reals]:
    """Room for the living and their accuracies, (seeds, population)."""
    shape = (len(session.lanes), population)
    return np.zeros(shape, dtype=np.int64), np.full(shape, -np.inf)


def drawn_members(session: BatchedSession, population: int, tournament: int) -> Integers:
    """Places among the living, shape (seeds, candidates, tournament)."""
    drawn = session.integers("tournament", population, session.width * tournament)
    return drawn.reshape(len(session.lanes), session.width, tournament)


def winners(living: Integers, drawn: Integers, place: Integers) -> Integers:
    members = np.take_along_axis(drawn, place[:, :, None], axis=2)[:, :, 0]
    found: Integers = np.take_along_axis(living, members, axis=1)
    return found


def mutants(session: BatchedSession, parents: Integers) -> Integers:
    """Each of `parents` (seeds, k) with one edge, drawn uniformly, given another operation."""
    neighbours = session.bench.neighbours
    mutated: Integers = neighbours[parents, session.integers("mutation", neighbours.shape[1], parents.shape[1])]
    return mutated
