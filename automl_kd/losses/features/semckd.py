"""Semantic calibration: every stage of the student learns from every stage of the teacher, weighted by attention.

Defang Chen, Jian-Ping Mei, Yuan Zhang, Can Wang, Zhe Wang, Yan Feng, Chun Chen. Cross-Layer Distillation with Semantic
Calibration. 2020. arXiv:2012.03236. A stage's query or key is computed from each image's row of the batch's similarity
matrix; the layers that do so are as wide as a batch, hence rows of a smaller last batch are filled up with zeros (the
published code drops it), and rows are scaled to unit length first, so that maps of all sizes count equally. Used beside
soft targets with weight 1 in the paper: "semckd=400, kd=1".

The weight belongs to plain momentum and three stages on either side. A regressor ends in a convolution after a ReLU of
normalised maps; with even attention over n teacher stages and n student stages the loss has there the curvature
2 / (pi n^2) times the weight, if channels are independent: 28 for 400 and three stages, 255 for one. At a rate of 0.05
and momentum 0.9 gradient descent on a quadratic is stable up to a curvature of 76, with Nesterov's up to 27: hence it
can diverge with the recipe's defaults (a loss of nan). Take nesterov = false, or a lower rate or weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from automl_kd.data import Batch
from automl_kd.losses.base import Example, FeatureNames, LossTerms, Standard, beside, both, example_maps, same_size
from automl_kd.losses.relations.sp import similarities
from automl_kd.models.blocks import convolution
from automl_kd.models.features import Outputs
from automl_kd.spec import require
from automl_kd.tasks.precision import in_float32

SHRINK = 4
"""The batch's size over the width of queries and keys, as in the published code."""


@in_float32
def image_errors(
    student: Float[Tensor, "batch channels height width"], teacher: Float[Tensor, "batch channels height width"]
) -> Float[Tensor, " batch"]:
    """Mean squared difference for each image."""
    return (student - teacher.detach()).square().flatten(1).mean(dim=1)


@in_float32
def semckd_loss(
    errors: Float[Tensor, "batch students teachers"], attention: Float[Tensor, "batch students teachers"]
) -> Float[Tensor, ""]:
    """Errors weighted by attention, which sums to 1 over the teacher's stages; mean over images and student stages."""
    return (attention * errors).sum(dim=2).mean()


@dataclass(frozen=True)
class SemCKD:
    """Each student stage to all teacher stages, weighted by attention. Chen et al. 2020, arXiv:2012.03236.

    `stages`: feature layers whose students are all compared with all teachers. The weight of 400 is the benchmark's,
    which adds soft targets with weight 1: "semckd=400, kd=1".
    """

    standard: ClassVar[Standard] = Standard(weight=400.0)
    whole_batch: ClassVar[bool] = True
    stages: str = "stage1+stage2+stage3"

    @property
    def features(self) -> FeatureNames:
        return FeatureNames.of(self.stages)

    def make(self, example: Example) -> Calibration:
        return beside(Calibration(self.stages, example), example)


class Calibration(nn.Module):
    def __init__(self, stages: str, example: Example) -> None:
        super().__init__()
        self.stages, self.batch = stages, example.batch
        maps = example_maps("semckd", stages, example)
        width = max(1, example.batch // SHRINK)
        self.queries = nn.ModuleList(embedding(example.batch, width) for _ in maps)
        self.keys = nn.ModuleList(embedding(example.batch, width) for _ in maps)
        self.regressors = nn.ModuleList(
            semckd_regressor(one.shape[1], two.shape[1]) for (one, _), (_, two) in product(maps, maps)
        )

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> LossTerms:  # noqa: ARG002 - no labels
        students, teachers = zip(*both(self.stages, student, teacher), strict=True)
        attention = self.attention(students, teachers)
        errors = []
        for regress, (one, two) in zip(self.regressors, product(students, teachers), strict=True):
            resized = same_size(one, two)
            errors.append(image_errors(regress(resized[0]), resized[1]))
        table = torch.stack(errors, dim=1).view(-1, len(students), len(teachers))
        return {"semckd": semckd_loss(table, attention)}

    def attention(self, students: tuple[Tensor, ...], teachers: tuple[Tensor, ...]) -> Tensor:
        queries = [embed(self.rows(x)) for embed, x in zip(self.queries, students, strict=True)]
        keys = [embed(self.rows(x)) for embed, x in zip(self.keys, teachers, strict=True)]
        one, two = (F.normalize(torch.stack(vectors, dim=1), dim=2) for vectors in (queries, keys))
        return (one @ two.transpose(1, 2)).softmax(dim=2)

    def rows(self, features: Tensor) -> Tensor:
        """Each image's similarities with its batch, filled up with zeros to the width of a full one."""
        missing = self.batch - len(features)
        require(missing >= 0, f"semckd was made for batches of up to {self.batch} images, got {len(features)}")
        return F.pad(in_float32(similarities)(features), (0, missing))


def embedding(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 2 * outputs), nn.ReLU(), nn.Linear(2 * outputs, outputs))


def semckd_regressor(inputs: int, outputs: int) -> nn.Sequential:
    """1x1, 3x3 and 1x1 convolutions, twice as wide as the teacher inside."""
    inner = 2 * outputs
    return nn.Sequential(
        convolution(inputs, inner, 1),
        nn.BatchNorm2d(inner),
        nn.ReLU(),
        convolution(inner, inner, 3),
        nn.BatchNorm2d(inner),
        nn.ReLU(),
        convolution(inner, outputs, 1),
    )
