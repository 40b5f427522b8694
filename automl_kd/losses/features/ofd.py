"""Overhaul of feature distillation: match pre-activations where the teacher's are positive.

Byeongho Heo, Jeesoo Kim, Sangdoo Yun, Hyojin Park, Nojun Kwak, Jin Young Choi. A Comprehensive Overhaul of Feature
Distillation. 2019. arXiv:1904.01866. The margin is each channel's mean negative response, which the paper measures or
derives from the preceding batch normalisation; the published code derives it. That ignores what a residual network's
shortcut adds, so here it is measured on the example that the loss is made with: in a trial 64 training images as they
are measured, without augmentation. The example's maps have the teacher's own size; where the student's are smaller, the
loss averages the teacher's to that size and keeps the margin. Weights of the stages and 1e-3 for the whole are the
benchmark's; 1e-4 is published for ImageNet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
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
    example_maps,
    halved_towards_the_first,
)
from automl_kd.losses.projections import projection
from automl_kd.models.features import Outputs
from automl_kd.tasks.precision import in_float32


@in_float32
def ofd_loss(
    student: Float[Tensor, "batch channels height width"],
    teacher: Float[Tensor, "batch channels height width"],
    margin: Float[Tensor, " channels"],
) -> Float[Tensor, ""]:
    """Partial squared distance to max(teacher, margin), summed and divided by the batch.

    Where the teacher's response is not positive, only a student above it is corrected. `margin` <= 0 per channel.
    """
    goal = torch.maximum(teacher.detach(), margin[None, :, None, None])
    counts = (student > goal) | (goal > 0)
    return ((student - goal).square() * counts).sum() / len(student)


@in_float32
def negative_means(teacher: Float[Tensor, "batch channels height width"]) -> Float[Tensor, " channels"]:
    """Mean of each channel's negative responses; 0 for a channel that has none."""
    negative = teacher.clamp_max(0)
    return negative.sum(dim=(0, 2, 3)) / (teacher < 0).sum(dim=(0, 2, 3)).clamp_min(1)


@dataclass(frozen=True)
class OFD:
    """Partial distance of pre-activations with a margin. Heo et al. 2019, arXiv:1904.01866.

    `stages`: pairs of feature layers before their activation, shallow to deep; each weighs half of the next.
    """

    standard: ClassVar[Standard] = Standard(weight=1e-3)
    stages: str = "stage1.pre+stage2.pre+stage3.pre"

    @property
    def features(self) -> FeatureNames:
        return FeatureNames.of(self.stages)

    def make(self, example: Example) -> PartialDistance:
        return beside(PartialDistance(self.stages, example), example)


class PartialDistance(nn.Module):
    def __init__(self, stages: str, example: Example) -> None:
        super().__init__()
        self.stages = stages
        maps = example_maps("ofd", stages, example)
        self.connectors = nn.ModuleList(projection(one.shape[1], two.shape[1]) for one, two in maps)
        for place, (_, two) in enumerate(maps):
            self.register_buffer(f"margin{place}", negative_means(two))

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> LossTerms:  # noqa: ARG002 - no labels
        maps = enumerate(zip(self.connectors, both_same_size(self.stages, student, teacher), strict=True))
        losses = [
            ofd_loss(connector(one), two, self.get_buffer(f"margin{place}")) for place, (connector, (one, two)) in maps
        ]
        return {"ofd": halved_towards_the_first(losses)}
