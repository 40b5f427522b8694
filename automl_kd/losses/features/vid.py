"""Variational information distillation: predict the teacher's maps, with a variance learnt for each channel.

Sungsoo Ahn, Shell Xu Hu, Andreas Damianou, Neil D. Lawrence, Zhenwen Dai. Variational Information Distillation for
Knowledge Transfer. 2019. arXiv:1904.05835. The weight of 1 is the CIFAR-100 benchmark's. One port in wide use keeps the
variances in a list that no optimizer sees; here they are parameters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from automl_kd.data import Batch
from automl_kd.losses.base import (
    Example,
    FeatureNames,
    LossTerms,
    Standard,
    beside,
    both_same_size,
    example_widths,
    sum_of_terms,
)
from automl_kd.models.blocks import convolution
from automl_kd.models.features import Outputs
from automl_kd.spec import require
from automl_kd.tasks.precision import in_float32

LEAST_VARIANCE = 1e-5
"""The least variance."""


@in_float32
def vid_loss(
    mean: Float[Tensor, "batch channels height width"],
    teacher: Float[Tensor, "batch channels height width"],
    variance: Float[Tensor, " channels"],
) -> Float[Tensor, ""]:
    """Mean of ((mean - teacher)^2 / variance + log variance) / 2: minus a Gaussian log likelihood, less a constant."""
    v = variance[None, :, None, None]
    return 0.5 * ((mean - teacher.detach()).square() / v + v.log()).mean()


@dataclass(frozen=True)
class VID:
    """Gaussian likelihood of the teacher's maps. Ahn et al. 2019, arXiv:1904.05835.

    `stages`: pairs of feature layers to compare. `variance` > 1e-5 at the start.
    """

    standard: ClassVar[Standard] = Standard(weight=1.0)
    stages: str = "stage1+stage2+stage3"
    variance: float = 5.0

    def __post_init__(self) -> None:
        require(self.variance > LEAST_VARIANCE, f"variance must be above {LEAST_VARIANCE}, got {self.variance}")

    @property
    def features(self) -> FeatureNames:
        return FeatureNames.of(self.stages)

    def make(self, example: Example) -> Likelihood:
        return beside(Likelihood(self, example), example)


class Likelihood(nn.Module):
    def __init__(self, options: VID, example: Example) -> None:
        super().__init__()
        self.stages = options.stages
        widths = example_widths("vid", options.stages, example)
        self.means = nn.ModuleList(vid_regressor(c_s, c_t) for c_s, c_t in widths)
        # softplus(start) + FLOOR is the variance asked for; log(exp(x) - 1) in a form that no large x overflows.
        above = options.variance - LEAST_VARIANCE
        start = above + math.log(-math.expm1(-above))
        self.variances = nn.ParameterList(nn.Parameter(torch.full((c_t,), start)) for _, c_t in widths)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> LossTerms:  # noqa: ARG002 - no labels
        maps = both_same_size(self.stages, student, teacher)
        losses = [
            vid_loss(mean(one), two, F.softplus(raw) + LEAST_VARIANCE)
            for (one, two), mean, raw in zip(maps, self.means, self.variances, strict=True)
        ]
        return {"vid": sum_of_terms(losses)}


def vid_regressor(inputs: int, outputs: int) -> nn.Sequential:
    """Three 1x1 convolutions with activations between them."""
    return nn.Sequential(
        convolution(inputs, outputs, 1),
        nn.ReLU(),
        convolution(outputs, outputs, 1),
        nn.ReLU(),
        convolution(outputs, outputs, 1),
    )
