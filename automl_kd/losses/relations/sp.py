"""Similarity preservation: images that are similar to the teacher must be similar to the student.

Frederick Tung, Greg Mori. Similarity-Preserving Knowledge Distillation. 2019. arXiv:1907.09682. A port in wide use
passes the norm's order in the wrong place and divides rows by their L1 norm; here, as in the paper, it is the L2 norm.
The mean over all pairs makes gradients small and dependent on the batch, hence the weight of 3000, which belongs to
batches of 64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from automl_kd.data import Batch
from automl_kd.losses.base import Example, FeatureNames, LossTerms, Standard, both, sum_of_terms
from automl_kd.models.features import Outputs
from automl_kd.tasks.precision import in_float32


def similarities(features: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch batch"]:
    """Inner products of the images' features, each row of unit length."""
    flat = features.flatten(1)
    return F.normalize(flat @ flat.T, dim=1)


@in_float32
def sp_loss(student: Float[Tensor, "batch ..."], teacher: Float[Tensor, "batch ..."]) -> Float[Tensor, ""]:
    """Mean squared difference of the two batches' similarities; features of any shapes."""
    return (similarities(student) - similarities(teacher.detach())).square().mean()


@dataclass(frozen=True)
class SP:
    """Mean squared difference of the images' similarities. Tung and Mori 2019, arXiv:1907.09682.

    `stages`: pairs of feature layers to compare.
    """

    standard: ClassVar[Standard] = Standard(weight=3000.0)
    whole_batch: ClassVar[bool] = True
    stages: str = "pre_pool"

    @property
    def features(self) -> FeatureNames:
        return FeatureNames.of(self.stages)

    def make(self, example: Example) -> SP:  # noqa: ARG002 - nothing to build
        return self

    def __call__(self, student: Outputs, teacher: Outputs, batch: Batch) -> LossTerms:  # noqa: ARG002 - no labels
        return {"sp": sum_of_terms([sp_loss(one, two) for one, two in both(self.stages, student, teacher)])}
