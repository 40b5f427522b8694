"""Attention transfer: look where the teacher looks.

Sergey Zagoruyko, Nikos Komodakis. Paying More Attention to Attention: Improving the Performance of Convolutional Neural
Networks via Attention Transfer. 2016. arXiv:1612.03928. The paper prints the norm of the difference of two attention
maps; its published code, which the benchmark's weight of 1000 belongs to, takes the mean of the squared difference over
images and positions, and so does this. The weight belongs to images of 32x32: where the same attention is spread
over a quarter of the positions, the mean is four times as large, so images of 8x8 want a sixteenth of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from automl_kd.data import Batch
from automl_kd.losses.base import (
    Example,
    FeatureNames,
    LossTerms,
    Standard,
    both,
    example_maps,
    same_size,
    sum_of_terms,
)
from automl_kd.models.features import Outputs
from automl_kd.spec import require
from automl_kd.tasks.precision import in_float32
from automl_kd.tasks.soft_targets import Number


def attention_map(
    features: Float[Tensor, "batch channels height width"], power: Number
) -> Float[Tensor, "batch positions"]:
    """Mean over channels of |features|^power at each position, scaled to unit length for each image."""
    return F.normalize(features.abs().pow(power).mean(dim=1).flatten(1), dim=1)


@in_float32
def at_loss(
    student: Float[Tensor, "batch c1 h1 w1"], teacher: Float[Tensor, "batch c2 h2 w2"], power: Number
) -> Float[Tensor, ""]:
    """Mean squared difference of the attention maps; the larger map is averaged to the smaller one's size."""
    one, two = same_size(student, teacher.detach())
    return (attention_map(one, power) - attention_map(two, power)).square().mean()


@dataclass(frozen=True)
class AT:
    """Mean squared difference of attention maps. Zagoruyko and Komodakis 2016, arXiv:1612.03928.

    `stages`: pairs of feature layers to compare. `power` >= 1 of the activations.
    """

    standard: ClassVar[Standard] = Standard(weight=1000.0)
    stages: str = "stage1+stage2+stage3"
    power: float = 2.0

    def __post_init__(self) -> None:
        require(self.power >= 1, f"power must be 1 or more, got {self.power}")

    @property
    def features(self) -> FeatureNames:
        return FeatureNames.of(self.stages)

    def make(self, example: Example) -> AT:
        example_maps("at", self.stages, example)
        return self

    def __call__(self, student: Outputs, teacher: Outputs, batch: Batch) -> LossTerms:  # noqa: ARG002 - no labels
        return {"at": sum_of_terms([at_loss(one, two, self.power) for one, two in both(self.stages, student, teacher)])}
