"""DIST: correlate probabilities within each image and within each class, rather than match them.

Tao Huang, Shan You, Fei Wang, Chen Qian, Chang Xu. Knowledge Distillation from A Stronger Teacher. 2022.
arXiv:2205.10536. Weights 2 and 2 at temperature 4 are the paper's for CIFAR-100, 1 and 1 at temperature 1 are the
published code's for ImageNet. The term is multiplied by the temperature's square. A correlation across the images of a
batch means nothing for one or two images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from automl_kd.data import Batch
from automl_kd.losses.base import Example, FeatureNames, LossTerms, Standard
from automl_kd.models.features import Outputs
from automl_kd.spec import require
from automl_kd.tasks.precision import in_float32
from automl_kd.tasks.soft_targets import Number

NORMS_FLOOR = 1e-8
"""Added to the product of norms, as in the published code: a constant row correlates with nothing."""


def row_correlation(one: Float[Tensor, "rows columns"], two: Float[Tensor, "rows columns"]) -> Float[Tensor, " rows"]:
    """Pearson's correlation of each row of `one` with that of `two`; 0 where either is constant."""
    one, two = one - one.mean(dim=1, keepdim=True), two - two.mean(dim=1, keepdim=True)
    norms: Tensor = torch.linalg.vector_norm(one, dim=1) * torch.linalg.vector_norm(two, dim=1)
    return (one * two).sum(dim=1) / (norms + NORMS_FLOOR)


@in_float32
def dist_loss(
    student: Float[Tensor, "batch classes"],
    teacher: Float[Tensor, "batch classes"],
    beta: Number,
    gamma: Number,
    temperature: Number,
) -> Float[Tensor, ""]:
    """(beta (1 - mean correlation over images) + gamma (1 - mean correlation over classes)) temperature^2."""
    p, q = (student / temperature).softmax(dim=1), (teacher.detach() / temperature).softmax(dim=1)
    inter, intra = 1 - row_correlation(p, q).mean(), 1 - row_correlation(p.T, q.T).mean()
    return (beta * inter + gamma * intra) * temperature**2


@dataclass(frozen=True)
class DIST:
    """Correlation of class probabilities, per image and per class. Huang et al. 2022, arXiv:2205.10536.

    `beta`, `gamma` >= 0 weigh images and classes. `temperature` > 0.
    """

    standard: ClassVar[Standard] = Standard(weight=1.0)
    whole_batch: ClassVar[bool] = True
    beta: float = 2.0
    gamma: float = 2.0
    temperature: float = 4.0

    def __post_init__(self) -> None:
        require(min(self.beta, self.gamma) >= 0, f"beta and gamma must be 0 or more, got {self.beta}, {self.gamma}")
        require(self.temperature > 0, f"temperature must be above 0, got {self.temperature}")

    @property
    def features(self) -> FeatureNames:
        return FeatureNames()

    def make(self, example: Example) -> DIST:  # noqa: ARG002 - nothing to build
        return self

    def __call__(self, student: Outputs, teacher: Outputs, batch: Batch) -> LossTerms:  # noqa: ARG002 - no labels
        return {"dist": dist_loss(student.logits, teacher.logits, self.beta, self.gamma, self.temperature)}
