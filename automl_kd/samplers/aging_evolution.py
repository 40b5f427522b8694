"""Regularised (aging) evolution: mutate the winner of a tournament; the oldest dies, however good it is.

Real, Aggarwal, Huang, Le. Regularized Evolution for Image Classifier Architecture Search. 2018. arXiv:1802.01548,
algorithm 1. Age is counted by the index of a proposal, not by the moment its trial ended, so that outcomes may arrive
in any order. A mutation changes one parameter of the space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from automl_kd.errors import ConfigError
from automl_kd.samplers.base import SearchObjective, candidate_generator, require_single
from automl_kd.samplers.history import History, Observation, judge_outcome
from automl_kd.space import Architecture, SearchSpace, mutate, sample_architecture
from automl_kd.spec import Outcome


@dataclass(frozen=True, eq=False)
class AgingEvolution:
    """Mutants of tournament winners among the youngest (Real et al. 2018, arXiv:1802.01548).

    `population` (P there), at least 1: so many of the youngest outcomes are alive; proposals are random until there are
    as many. `tournament` (S), at least 1: so many are drawn from the living, with replacement, and the best is mutated.
    """

    space: SearchSpace
    objectives: Sequence[SearchObjective]
    seed: int
    population: int = 20
    tournament: int = 5
    history: History = field(default_factory=History, init=False, repr=False)

    def __post_init__(self) -> None:
        require_single(self.objectives, "evolution")
        if min(self.population, self.tournament) < 1:
            raise ConfigError(
                f"sampler 'evolution' got population {self.population} and tournament {self.tournament}; "
                "choose at least 1 for both"
            )

    def ask(self, index: int, draw: int = 0) -> Architecture:
        rng = candidate_generator(self.seed, index, draw)
        living = self.history.derive(self.living)
        if len(living) < self.population:
            return sample_architecture(self.space, rng)
        drawn = rng.integers(len(living), size=self.tournament)
        return mutate(self.space, min((living[i] for i in drawn), key=lambda one: one.merit).architecture, rng)

    def tell(self, index: int, architecture: Architecture, outcome: Outcome) -> None:
        self.history.add(index, judge_outcome(index, architecture, outcome, self.objectives))

    def living(self, observed: Sequence[Observation]) -> Sequence[Observation]:
        """The youngest, as many as the population holds."""
        return observed[-self.population :]
