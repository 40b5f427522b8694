"""Neuron selectivity transfer: match the distribution of channel maps by maximum mean discrepancy.

Zehao Huang, Naiyan Wang. Like What You Like: Knowledge Distill via Neuron Selectivity Transfer. 2017. arXiv:1707.01219,
with the polynomial kernel (a.b)^2. Channels are samples, compared within each image, so widths need not agree. The
teacher's own term is a constant; it is kept so that equal networks have no loss. The weight of 50
is the CIFAR-100 benchmark's.
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
from automl_kd.tasks.precision import in_float32


@in_float32
def nst_loss(student: Float[Tensor, "batch c1 h1 w1"], teacher: Float[Tensor, "batch c2 h2 w2"]) -> Float[Tensor, ""]:
    """Mean k(t, t) + mean k(s, s) - 2 mean k(s, t) over the images' channel maps, each of unit length."""
    one, two = same_size(student, teacher.detach())
    s, t = F.normalize(one.flatten(2), dim=2), F.normalize(two.flatten(2), dim=2)
    return kernel_mean(t, t) + kernel_mean(s, s) - 2 * kernel_mean(s, t)


def kernel_mean(
    one: Float[Tensor, "batch c1 positions"], two: Float[Tensor, "batch c2 positions"]
) -> Float[Tensor, ""]:
    return (one @ two.transpose(1, 2)).square().mean()


@dataclass(frozen=True)
class NST:
    """Discrepancy of the channel maps' distributions. Huang and Wang 2017, arXiv:1707.01219.

    `stages`: pairs of feature layers to compare.
    """

    standard: ClassVar[Standard] = Standard(weight=50.0)
    stages: str = "stage1+stage2+stage3"

    @property
    def features(self) -> FeatureNames:
        return FeatureNames.of(self.stages)

    def make(self, example: Example) -> NST:
        example_maps("nst", self.stages, example)
        return self

    def __call__(self, student: Outputs, teacher: Outputs, batch: Batch) -> LossTerms:  # noqa: ARG002 - no labels
        return {"nst": sum_of_terms([nst_loss(one, two) for one, two in both(self.stages, student, teacher)])}
