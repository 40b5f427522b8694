"""Probabilistic knowledge transfer: match the probabilities with which images neighbour each other.

Nikolaos Passalis, Anastasios Tefas. Learning Deep Representations with Probabilistic Knowledge Transfer. 2018.
arXiv:1803.10837, with the cosine kernel. As in the published code the divergence is averaged over all entries of the
matrix, hence the benchmark's weight of 30000, which belongs to batches of 64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from automl_kd.data import Batch
from automl_kd.losses.base import Example, FeatureNames, LossTerms, Standard, both, sum_of_terms
from automl_kd.models.features import Outputs
from automl_kd.tasks.precision import in_float32

PROBABILITY_FLOOR = 1e-7
"""Added to both probabilities inside the logarithm, as in the published code."""


def neighbour_probabilities(features: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch batch"]:
    """(cosine + 1) / 2 of all pairs of images, each row divided by its sum."""
    unit = F.normalize(features.flatten(1), dim=1)
    similar = (unit @ unit.T + 1) / 2
    return similar / similar.sum(dim=1, keepdim=True)


@in_float32
def pkt_loss(student: Float[Tensor, "batch ..."], teacher: Float[Tensor, "batch ..."]) -> Float[Tensor, ""]:
    """Mean of q log(q / p) over all pairs, for neighbourhoods p of the student and q of the teacher."""
    p, q = neighbour_probabilities(student), neighbour_probabilities(teacher.detach())
    return (q * ((q + PROBABILITY_FLOOR) / (p + PROBABILITY_FLOOR)).log()).mean()


@dataclass(frozen=True)
class PKT:
    """Divergence of neighbourhood probabilities. Passalis and Tefas 2018, arXiv:1803.10837.

    `stages`: pairs of feature layers to compare.
    """

    standard: ClassVar[Standard] = Standard(weight=30000.0)
    whole_batch: ClassVar[bool] = True
    stages: str = "pooled"

    @property
    def features(self) -> FeatureNames:
        return FeatureNames.of(self.stages)

    def make(self, example: Example) -> PKT:  # noqa: ARG002 - nothing to build
        return self

    def __call__(self, student: Outputs, teacher: Outputs, batch: Batch) -> LossTerms:  # noqa: ARG002 - no labels
        return {"pkt": sum_of_terms([pkt_loss(one, two) for one, two in both(self.stages, student, teacher)])}
