"""Random search: every proposal drawn anew.

Li, Talwalkar. Random Search and Reproducibility for Neural Architecture Search. 2019. arXiv:1902.07638.
There it is the baseline that a search has to beat, with and without weight sharing; here it is without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from automl_kd.samplers.base import SearchObjective, candidate_generator
from automl_kd.space import Architecture, SearchSpace, sample_architecture
from automl_kd.spec import Outcome


@dataclass(frozen=True, eq=False)
class RandomSearch:
    """Uniform random proposals: the baseline (Li, Talwalkar 2019, arXiv:1902.07638)."""

    space: SearchSpace
    objectives: Sequence[SearchObjective]
    seed: int

    def ask(self, index: int, draw: int = 0) -> Architecture:
        return sample_architecture(self.space, candidate_generator(self.seed, index, draw))

    def tell(self, index: int, architecture: Architecture, outcome: Outcome) -> None:
        """Nothing to learn."""
