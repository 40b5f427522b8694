"""Knowledge review: a student's deeper maps, fused step by step with its shallower ones, answer the teacher's.

Pengguang Chen, Shu Liu, Hengshuang Zhao, Jiaya Jia. Distilling Knowledge via Knowledge Review. 2021. arXiv:2104.09044:
attention-based fusion (ABF) and the hierarchical context loss. The pooled vector takes part as a map of one pixel.
Weight 5 is that of most CIFAR-100 pairs; published are 8 for resnet32x4 to ShuffleNetV2, 0.6 for resnet56 to resnet20,
1 for resnet110 to resnet32 and for ImageNet's ResNet-18.

The benchmark's code takes the teacher's maps before the stage's last ReLU, and the student's after it or, as an option,
before. Here both are taken after it by default; the code's choice is written
"stage1:stage1.pre+stage2:stage2.pre+stage3:stage3.pre+pooled".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from automl_kd.data import Batch
from automl_kd.losses.base import Example, FeatureNames, LossTerms, Standard, beside, both, sum_of_terms
from automl_kd.losses.features.hcl import hcl
from automl_kd.models.blocks import convolution
from automl_kd.models.features import Outputs

MAX_WIDTH = 512
"""The inner width is that of the student's deepest map, at most this."""


@dataclass(frozen=True)
class ReviewKD:
    """Fused student maps, compared at several resolutions. Chen et al. 2021, arXiv:2104.09044.

    `stages`: pairs of feature layers, shallow to deep; vectors count as maps of one pixel.
    """

    standard: ClassVar[Standard] = Standard(weight=5.0, warmup=20 / 240)
    stages: str = "stage1+stage2+stage3+pooled"

    @property
    def features(self) -> FeatureNames:
        return FeatureNames.of(self.stages)

    def make(self, example: Example) -> Review:
        return beside(Review(self.stages, example), example)


class Review(nn.Module):
    def __init__(self, stages: str, example: Example) -> None:
        super().__init__()
        self.stages = stages
        pairs = [
            (to_feature_map(one), to_feature_map(two)) for one, two in both(stages, example.student, example.teacher)
        ]
        inner = min(MAX_WIDTH, pairs[-1][0].shape[1])
        self.fusions = nn.ModuleList(
            Fusion(one.shape[1], inner, two.shape[1], deepest=place == len(pairs) - 1)
            for place, (one, two) in enumerate(pairs)
        )

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> LossTerms:  # noqa: ARG002 - no labels
        pairs = [(to_feature_map(one), to_feature_map(two)) for one, two in both(self.stages, student, teacher)]
        carried, losses = None, []
        # From deep to shallow: each stage hands what it fused to the next.
        for fusion, (one, two) in zip(reversed(self.fusions), reversed(pairs), strict=True):
            answer, carried = fusion(one, carried, two.shape[2:])
            losses.append(hcl(answer, two))
        return {"reviewkd": sum_of_terms(losses)}


def to_feature_map(features: Tensor) -> Tensor:
    return features[:, :, None, None] if features.ndim == 2 else features


class Fusion(nn.Module):
    """A student's map and what deeper stages hand over, mixed by two attention maps.

    Returns the answer, of the teacher's width and size, and what the next stage gets, of the inner width.
    """

    def __init__(self, inputs: int, inner: int, outputs: int, *, deepest: bool) -> None:
        super().__init__()
        self.enter = nn.Sequential(convolution(inputs, inner, 1), nn.BatchNorm2d(inner))
        self.leave = nn.Sequential(convolution(inner, outputs, 3), nn.BatchNorm2d(outputs))
        self.attention = None if deepest else nn.Sequential(nn.Conv2d(2 * inner, 2, 1), nn.Sigmoid())
        for layer in (self.enter[0], self.leave[0]):
            assert isinstance(layer, nn.Conv2d)
            nn.init.kaiming_uniform_(layer.weight, a=1)

    def forward(
        self, x: Float[Tensor, "batch channels height width"], deeper: Tensor | None, size: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        x = self.enter(x)
        if self.attention is not None and deeper is not None:
            deeper = F.interpolate(deeper, tuple(x.shape[2:]), mode="nearest")
            shares = self.attention(torch.cat([x, deeper], dim=1))
            x = x * shares[:, :1] + deeper * shares[:, 1:]
        x = F.interpolate(x, tuple(size), mode="nearest") if tuple(x.shape[2:]) != tuple(size) else x
        return self.leave(x), x
