"""Inter-channel correlation: channels that respond together in the teacher are to do so in the student.

Li Liu, Qingle Huang, Sihao Lin, Hongwei Xie, Bing Wang, Xiaojun Chang, Xiaodan Liang. Exploring Inter-Channel
Correlation for Diversity-Preserved Knowledge Distillation. 2021. arXiv:2202.03680. As in ports of its code, rows of the
correlation matrices have unit length and the sum is divided by images and channels. The CIFAR-100 benchmark gives no
weight for it; the 2.5 here is a guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from automl_kd.data import Batch
from automl_kd.losses.base import Example, FeatureNames, LossTerms, Standard, beside, both, example_widths, sum_of_terms
from automl_kd.losses.projections import projection
from automl_kd.models.features import Outputs
from automl_kd.tasks.precision import in_float32


@in_float32
def ickd_loss(
    student: Float[Tensor, "batch channels h1 w1"], teacher: Float[Tensor, "batch channels h2 w2"]
) -> Float[Tensor, ""]:
    """||R_s - R_t||^2 / channels, averaged over images; R: inner products of channel maps, rows of unit length.

    The maps' sizes need not agree, since unit rows make up for the number of positions.
    """
    return (channel_correlations(student) - channel_correlations(teacher.detach())).square().sum(dim=2).mean()


def channel_correlations(
    features: Float[Tensor, "batch channels height width"],
) -> Float[Tensor, "batch channels channels"]:
    flat = features.flatten(2)
    return F.normalize(flat @ flat.transpose(1, 2), dim=2)


@dataclass(frozen=True)
class ICKD:
    """Squared difference of channel correlations. Liu et al. 2021, arXiv:2202.03680.

    `stages`: pairs of feature layers to compare; the student's map is projected to the teacher's width. The standard
    weight is a guess.
    """

    standard: ClassVar[Standard] = Standard(weight=2.5)
    stages: str = "pre_pool"

    @property
    def features(self) -> FeatureNames:
        return FeatureNames.of(self.stages)

    def make(self, example: Example) -> Correlation:
        return beside(Correlation(self.stages, example), example)


class Correlation(nn.Module):
    def __init__(self, stages: str, example: Example) -> None:
        super().__init__()
        self.stages = stages
        self.projections = nn.ModuleList(projection(*widths) for widths in example_widths("ickd", stages, example))

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> LossTerms:  # noqa: ARG002 - no labels
        pairs = zip(both(self.stages, student, teacher), self.projections, strict=True)
        return {"ickd": sum_of_terms([ickd_loss(project(one), two) for (one, two), project in pairs])}
