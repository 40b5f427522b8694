"""Flow of the solution procedure: how features turn into the next stage's features.

Junho Yim, Donggyu Joo, Jihoon Bae, Junmo Kim. A Gift from Knowledge Distillation: Fast Optimization, Network
Minimization and Transfer Learning. CVPR 2017. Published as a first stage of training, followed by one with labels:
"fsp, fsp.until=0.111, ce.start=0.111" for 30 of 270 epochs. Widths must agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from automl_kd.data import Batch
from automl_kd.errors import ConfigError
from automl_kd.losses.base import (
    Example,
    FeatureNames,
    LossTerms,
    Standard,
    both,
    example_maps,
    read_stages,
    same_size,
    sum_of_terms,
)
from automl_kd.models.features import Outputs
from automl_kd.spec import require
from automl_kd.tasks.precision import in_float32


def flow(
    lower: Float[Tensor, "batch c1 h1 w1"], upper: Float[Tensor, "batch c2 h2 w2"]
) -> Float[Tensor, "batch c1 c2"]:
    """Mean over positions of the products of each lower with each upper channel, at the smaller map's size."""
    one, two = same_size(lower, upper)
    return one.flatten(2) @ two.flatten(2).transpose(1, 2) / one[0, 0].numel()


@in_float32
def fsp_loss(
    lower_s: Float[Tensor, "batch c1 h1 w1"],
    upper_s: Float[Tensor, "batch c2 h2 w2"],
    lower_t: Float[Tensor, "batch c1 h3 w3"],
    upper_t: Float[Tensor, "batch c2 h4 w4"],
) -> Float[Tensor, ""]:
    """Mean squared difference of the two networks' flow from a lower to an upper map.

    Each map of a pair is averaged to the smaller network's size first, so that means are over the same positions.
    """
    lower_s, lower_t = same_size(lower_s, lower_t.detach())
    upper_s, upper_t = same_size(upper_s, upper_t.detach())
    return (flow(lower_s, upper_s) - flow(lower_t, upper_t)).square().mean()


@dataclass(frozen=True)
class FSP:
    """Products of consecutive stages' maps. Yim et al. 2017, CVPR.

    `stages`: at least two pairs of feature layers of equal widths, shallow to deep.
    """

    standard: ClassVar[Standard] = Standard(weight=50.0)
    stages: str = "stem+stage1+stage2+stage3"

    def __post_init__(self) -> None:
        require(len(read_stages(self.stages)) > 1, f"fsp needs two stages or more, got {self.stages!r}")

    @property
    def features(self) -> FeatureNames:
        return FeatureNames.of(self.stages)

    def make(self, example: Example) -> FSP:
        maps = example_maps("fsp", self.stages, example)
        for (name, _), (one, two) in zip(read_stages(self.stages), maps, strict=True):
            if one.shape[1] != two.shape[1]:
                raise ConfigError(
                    f"fsp needs equal widths and got {one.shape[1]} from the student, {two.shape[1]} from the teacher "
                    f"at {name!r}; choose a teacher of the student's widths, or another loss"
                )
        return self

    def __call__(self, student: Outputs, teacher: Outputs, batch: Batch) -> LossTerms:  # noqa: ARG002 - no labels
        pairs = pairwise(both(self.stages, student, teacher))
        return {"fsp": sum_of_terms([fsp_loss(lower[0], upper[0], lower[1], upper[1]) for lower, upper in pairs])}
