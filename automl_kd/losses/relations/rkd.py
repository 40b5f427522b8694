"""Relational knowledge distillation: keep the distances and angles between the images' embeddings.

Wonpyo Park, Dongju Kim, Yan Lu, Minsu Cho. Relational Knowledge Distillation. 2019. arXiv:1904.05068. The weights 25
and 50 are the published code's. Two equal embeddings have no direction: there the published code's gradient is of the
order 1e12, here it is zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from automl_kd.data import Batch
from automl_kd.losses.base import Example, FeatureNames, LossTerms, Standard, both, sum_of_terms
from automl_kd.models.features import Outputs
from automl_kd.spec import require
from automl_kd.tasks.precision import in_float32
from automl_kd.tasks.soft_targets import Number

SMALLEST_SQUARE = 1e-12
"""Squared distances below it count as it, as in the published code."""


def pairwise_distances(x: Float[Tensor, "batch width"]) -> Float[Tensor, "batch batch"]:
    """Euclidean distances of all pairs, divided by the mean of those that are not zero."""
    square = pairwise_differences(x).square().sum(dim=2)
    apart = ~torch.eye(len(x), dtype=torch.bool, device=x.device)
    distance = square.clamp_min(SMALLEST_SQUARE).sqrt() * apart
    return distance / (distance.sum() / apart.sum().clamp_min(1)).clamp_min(SMALLEST_SQUARE)


def angles(x: Float[Tensor, "batch width"]) -> Float[Tensor, "batch batch batch"]:
    """Cosines of the angles at i between the directions to j and to k, for all (i, j, k); 0 where two coincide."""
    difference = pairwise_differences(x)
    square = difference.square().sum(dim=2, keepdim=True)
    unit = torch.where(square > SMALLEST_SQUARE, difference * square.clamp_min(SMALLEST_SQUARE).rsqrt(), 0)
    return unit @ unit.transpose(1, 2)


def pairwise_differences(x: Float[Tensor, "batch width"]) -> Float[Tensor, "batch batch width"]:
    return x[None, :] - x[:, None]


@in_float32
def rkd_loss(
    student: Float[Tensor, "batch ..."], teacher: Float[Tensor, "batch ..."], distance: Number, angle: Number
) -> Float[Tensor, ""]:
    """Smooth L1 of relative distances times `distance`, plus that of cosines times `angle`; means over all entries."""
    s, t = student.flatten(1), teacher.detach().flatten(1)
    return distance * F.smooth_l1_loss(pairwise_distances(s), pairwise_distances(t)) + angle * F.smooth_l1_loss(
        angles(s), angles(t)
    )


@dataclass(frozen=True)
class RKD:
    """Distances and angles between embeddings. Park et al. 2019, arXiv:1904.05068.

    `distance`, `angle` >= 0 weigh the two. `stages`: pairs of feature layers to compare.
    """

    standard: ClassVar[Standard] = Standard(weight=1.0)
    whole_batch: ClassVar[bool] = True
    stages: str = "pooled"
    distance: float = 25.0
    angle: float = 50.0

    def __post_init__(self) -> None:
        require(min(self.distance, self.angle) >= 0, "distance and angle must be 0 or more")

    @property
    def features(self) -> FeatureNames:
        return FeatureNames.of(self.stages)

    def make(self, example: Example) -> RKD:  # noqa: ARG002 - nothing to build
        return self

    def __call__(self, student: Outputs, teacher: Outputs, batch: Batch) -> LossTerms:  # noqa: ARG002 - no labels
        pairs = both(self.stages, student, teacher)
        return {"rkd": sum_of_terms([rkd_loss(one, two, self.distance, self.angle) for one, two in pairs])}
