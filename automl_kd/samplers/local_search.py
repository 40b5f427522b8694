"""Local search: change one thing about the best architecture so far.

White, Nolen, Savani. Exploring the Loss Landscape in Neural Architecture Search. 2020. arXiv:2005.02960. There,
all neighbours of a point are evaluated before the search moves, and a local optimum ends it. Here each proposal
is one random neighbour of the best point so far, so that any number of trials can run at once, and a share of the
proposals is drawn from the whole space, so that a local optimum does not hold the search forever.
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
class LocalSearch:
    """Random neighbours of the best point so far (White, Nolen, Savani 2020, arXiv:2005.02960).

    `restart` in [0, 1]: the share of proposals drawn from the whole space; all of them until there is an outcome.
    """

    space: SearchSpace
    objectives: Sequence[SearchObjective]
    seed: int
    restart: float = 0.1
    history: History = field(default_factory=History, init=False, repr=False)

    def __post_init__(self) -> None:
        require_single(self.objectives, "local")
        if not 0 <= self.restart <= 1:
            raise ConfigError(f"restart of sampler 'local' is {self.restart}; choose a share between 0 and 1")

    def ask(self, index: int, draw: int = 0) -> Architecture:
        rng = candidate_generator(self.seed, index, draw)
        best = self.history.derive(best_observed)
        if best is None or rng.random() < self.restart:
            return sample_architecture(self.space, rng)
        return mutate(self.space, best.architecture, rng)

    def tell(self, index: int, architecture: Architecture, outcome: Outcome) -> None:
        self.history.add(index, judge_outcome(index, architecture, outcome, self.objectives))


def best_observed(observed: Sequence[Observation]) -> Observation | None:
    """The best outcome, the earliest of equals, or None if there is none."""
    return min(observed, key=lambda one: one.merit, default=None)
