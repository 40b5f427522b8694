"""NSGA-II on a table: accuracy and latency by non-dominated rank and crowding, for all seeds at once.

Deb, Pratap, Agarwal, Meyarivan. A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II. IEEE Transactions on
Evolutionary Computation 6(2), 2002, doi:10.1109/4235.996017, section III, with its generations. Uniform crossover and
one changed edge in each child take the place of the paper's operators for real numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from automl_kd.nasbench.samplers.batched_session import BatchedSession
from automl_kd.nasbench.samplers.draws import Integers, Reals
from automl_kd.nasbench.samplers.evolution import mutants
from automl_kd.spec import require


@dataclass(frozen=True, kw_only=True)
class BatchedNSGA2:
    """Two objectives by rank and crowding (Deb et al. 2002, doi:10.1109/4235.996017).

    `population`, at least 2: parents, and children of a generation. `crossover` in [0, 1]: the share of children with
    two parents.
    """

    population: int = 20
    crossover: float = 0.9

    def __post_init__(self) -> None:
        require(self.population >= 2, "population must be 2 or more")
        require(0 <= self.crossover <= 1, "crossover must lie in 0 to 1")

    def run(self, session: BatchedSession) -> None:
        parents = self.generation(session, None)
        while session.open:
            born = np.concatenate([parents, self.generation(session, parents)], axis=1)
            parents = np.take_along_axis(born, order_of(session.bench.losses[born])[:, : self.population], axis=1)

    def generation(self, session: BatchedSession, parents: Integers | None) -> Integers:
        """As many as there is room for, tried one after another; `parents` best first, None for random ones."""
        rows = []
        for _ in range(self.population):
            if session.open:
                rows.append(session.fresh() if parents is None else session.prefer(self.children(session, parents)))
                session.query(rows[-1])
        return np.stack(rows, axis=1)

    def children(self, session: BatchedSession, parents: Integers) -> Integers:
        """Candidates (seeds, width). Parents stand in their order, so the earlier of two wins a tournament."""
        bench, width, count = session.bench, session.width, parents.shape[1]
        place = session.integers("tournament", count, 4 * width).reshape(-1, 2, width, 2).min(axis=3)
        mother, father = (bench.encodings[np.take_along_axis(parents, place[:, one], axis=1)] for one in (0, 1))
        crossed = session.uniform("crossover", width)[:, :, None] < self.crossover
        from_father = session.uniform("edges", mother[0].size).reshape(mother.shape) < 0.5
        return mutants(session, bench.find(np.where(crossed & from_father, father, mother)))


def order_of(losses: Reals) -> Integers:
    """Places of the points (seeds, n, 2) by front, and within one by crowding, the emptiest surroundings first."""
    rank = front_numbers(losses)
    return np.lexsort((-crowding(losses, rank), rank), axis=1)


def front_numbers(losses: Reals) -> Integers:
    """The front of each point, 0 for the best: (seeds, n, m) to (seeds, n)."""
    one, other = losses[:, :, None], losses[:, None]
    dominates = (one <= other).all(axis=3) & (one < other).any(axis=3)
    rank = np.zeros(losses.shape[:2], dtype=np.int64)
    left = np.ones(rank.shape, dtype=np.bool_)
    while left.any():
        # What no point that is left dominates leaves with this front.
        left &= (dominates & left[:, :, None]).any(axis=1)
        rank += left
    return rank


def crowding(losses: Reals, rank: Integers) -> Reals:
    """Distance between a point's two neighbours in its front, summed over objectives scaled to the front's extent."""
    distance = np.zeros(rank.shape)
    lanes = np.arange(len(rank))[:, None]
    for values in np.moveaxis(losses, 2, 0):
        order = np.lexsort((values, rank), axis=1)
        sorted_values, sorted_rank = values[lanes, order], rank[lanes, order]
        first = np.diff(sorted_rank, axis=1, prepend=-1) != 0
        end = np.diff(sorted_rank, axis=1, append=len(order[0])) != 0
        gap = np.full(rank.shape, np.inf)
        gap[:, 1:-1] = sorted_values[:, 2:] - sorted_values[:, :-2]
        gap[first | end] = np.inf
        distance[lanes, order] += gap / extents(sorted_values, sorted_rank)
    return distance


def extents(values: Reals, rank: Integers) -> Reals:
    """The extent of each point's front in one objective, values ascending within ranks; 1 where it has none."""
    same = rank[:, :, None] == rank[:, None]
    low = np.where(same, values[:, None], np.inf).min(axis=2)
    high = np.where(same, values[:, None], -np.inf).max(axis=2)
    spread: Reals = np.where(high > low, high - low, 1.0)
    return spread
