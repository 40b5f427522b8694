"""Masked generative distillation: from a student's map with channels removed, generate the teacher's whole map.

Zhendong Yang, Zhe Li, Mingqi Shao, Dachuan Shi, Zehuan Yuan, Chun Yuan. Masked Generative Distillation. 2022.
arXiv:2205.01529, as the published code has it for classification: whole channels are masked, with ratio 0.15, and the
squared error is summed and divided by the batch, with weight 7e-5. For maps of different sizes, which that code does
not meet, the larger is averaged to the smaller one's size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from automl_kd import distributed
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
from automl_kd.losses.draws import CountedGenerator
from automl_kd.models.features import Outputs
from automl_kd.seeds import derive
from automl_kd.spec import require
from automl_kd.tasks.precision import in_float32


@in_float32
def mgd_loss(
    generated: Float[Tensor, "batch channels height width"], teacher: Float[Tensor, "batch channels height width"]
) -> Float[Tensor, ""]:
    """Sum of squared differences, divided by the batch."""
    return (generated - teacher.detach()).square().sum() / len(teacher)


@dataclass(frozen=True)
class MGD:
    """Generate the teacher's map from a masked student's. Yang et al. 2022, arXiv:2205.01529.

    `stages`: pairs of feature layers to compare. `ratio` in [0, 1): the chance with which a channel is masked.
    """

    standard: ClassVar[Standard] = Standard(weight=7e-5)
    stages: str = "pre_pool"
    ratio: float = 0.15

    def __post_init__(self) -> None:
        require(0 <= self.ratio < 1, f"ratio must lie in [0, 1), got {self.ratio}")

    @property
    def features(self) -> FeatureNames:
        return FeatureNames.of(self.stages)

    def make(self, example: Example) -> Generation:
        return beside(Generation(self, example), example)


class Generation(nn.Module):
    def __init__(self, options: MGD, example: Example) -> None:
        super().__init__()
        self.options, self.draws = options, CountedGenerator(derive(example.seed, "mgd"))
        widths = example_widths("mgd", options.stages, example)
        self.aligners = nn.ModuleList(nn.Conv2d(c_s, c_t, 1) if c_s != c_t else nn.Identity() for c_s, c_t in widths)
        self.generators = nn.ModuleList(generation_block(c_t) for _, c_t in widths)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> LossTerms:  # noqa: ARG002 - no labels
        maps, losses = both_same_size(self.options.stages, student, teacher), []
        for (one, two), align, generate in zip(maps, self.aligners, self.generators, strict=True):
            aligned = align(one)
            losses.append(mgd_loss(generate(aligned * self.mask(aligned)), two))
        return {"mgd": sum_of_terms(losses)}

    def mask(self, maps: Tensor) -> Tensor:
        """Zero for a masked channel of an image, else one: (batch, channels, 1, 1)."""
        device, (count, width) = maps.device, maps.shape[:2]
        # Drawn for a process group's whole batch, so that each image's mask is the same for any number of processes.
        chance = torch.rand(
            (distributed.shard_count() * count, width, 1, 1), generator=self.draws(device), device=device
        )
        return (distributed.own_shard(chance) >= self.options.ratio).to(maps.dtype)


def generation_block(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1))
