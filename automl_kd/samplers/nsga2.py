"""NSGA-II: several objectives at once, by non-dominated rank first and distance from neighbours second.

Deb, Pratap, Agarwal, Meyarivan. A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II. IEEE Transactions on
Evolutionary Computation 6(2), 2002, doi:10.1109/4235.996017, section III.

Steady state instead of generations: the parents of any proposal are the best `population` of all outcomes so far, so
that trials may end in any order and none waits for a generation. Budgets are kept by wrapping it in `Feasible`, not by
the paper's section VI; one idea of that section is used: a trial that was stopped early ranks behind those that ran
longer, as a point that violates a constraint ranks behind those that violate it less. Uniform crossover and the
mutation of one parameter replace the paper's operators for real numbers; one is what its mutation rate of one over the
number of parameters changes on average.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from automl_kd.errors import ConfigError
from automl_kd.samplers.base import SearchObjective, candidate_generator
from automl_kd.samplers.history import History, Observation, judge_outcome
from automl_kd.samplers.pareto import crowding_distance, non_dominated_ranks
from automl_kd.space import Architecture, SearchSpace, cross, mutate, sample_architecture
from automl_kd.spec import Outcome


@dataclass(frozen=True, eq=False)
class NSGA2:
    """Several objectives by rank and crowding (Deb et al. 2002, doi:10.1109/4235.996017).

    `population`, at least 2: so many of the best are parents; proposals are random until there are as many.
    `crossover` in [0, 1]: the share of proposals with two parents; the others have one. All are mutated.
    """

    space: SearchSpace
    objectives: Sequence[SearchObjective]
    seed: int
    population: int = 20
    crossover: float = 0.9
    history: History = field(default_factory=History, init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.objectives:
            raise ConfigError("sampler 'nsga2' got no objective; name at least one, such as val_accuracy or -params")
        if self.population < 2:
            raise ConfigError(f"population of sampler 'nsga2' is {self.population}; choose at least 2")
        if not 0 <= self.crossover <= 1:
            raise ConfigError(f"crossover of sampler 'nsga2' is {self.crossover}; choose a share between 0 and 1")

    def ask(self, index: int, draw: int = 0) -> Architecture:
        rng = candidate_generator(self.seed, index, draw)
        parents = self.history.derive(self.parents)
        if len(parents) < self.population:
            return sample_architecture(self.space, rng)
        child = binary_tournament(parents, rng)
        if rng.random() < self.crossover:
            child = cross(self.space, child, binary_tournament(parents, rng), rng)
        return mutate(self.space, child, rng)

    def tell(self, index: int, architecture: Architecture, outcome: Outcome) -> None:
        self.history.add(index, judge_outcome(index, architecture, outcome, self.objectives))

    def parents(self, observed: Sequence[Observation]) -> Sequence[Architecture]:
        """The best, as many as the population holds, best first."""
        return [one.architecture for one in crowded_order(observed)[: self.population]]


def binary_tournament(parents: Sequence[Architecture], rng: np.random.Generator) -> Architecture:
    """The better of two drawn with replacement from `parents`, which are sorted best first."""
    return parents[int(rng.integers(len(parents), size=2).min())]


def crowded_order(observed: Sequence[Observation]) -> list[Observation]:
    """Sorted by the crowded-comparison operator (section III-B), best first: by rank, then by decreasing distance."""
    ordered: list[Observation] = []
    for tier in sorted({one.tier for one in observed}):
        ordered += order_in_tier([one for one in observed if one.tier == tier])
    return ordered


def order_in_tier(observed: Sequence[Observation]) -> list[Observation]:
    points = np.array([one.losses for one in observed])
    ranks = non_dominated_ranks(points)
    distance = np.zeros(len(observed))
    for rank in range(ranks.max() + 1):
        distance[ranks == rank] = crowding_distance(points[ranks == rank])
    return [observed[i] for i in np.lexsort((-distance, ranks))]
