"""Soft targets: match the teacher's softened class probabilities.

Geoffrey Hinton, Oriol Vinyals, Jeff Dean. Distilling the Knowledge in a Neural Network. 2015. arXiv:1503.02531, section
2. The weights 0.1 for the labels and 0.9 for the teacher at temperature 4 are those of the CIFAR-100 benchmark of Tian,
Krishnan, Isola. Contrastive Representation Distillation. 2020. arXiv:1910.10699.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from automl_kd.data import Batch
from automl_kd.losses.base import Example, FeatureNames, LossTerms, Number, Standard, in_float32
from automl_kd.models.features import Outputs
from automl_kd.spec import require


@in_float32
def kd_loss(
    student: Float[Tensor, "batch classes"], teacher: Float[Tensor, "batch classes"], temperature: Number
) -> Float[Tensor, ""]:
    """KL(teacher || student) at `temperature` > 0, times its square, averaged over the batch.

    The factor keeps gradients comparable across temperatures (section 2). `temperature` may be a tensor, so that an
    outer problem can differentiate through it. No gradient reaches the teacher.
    """
    log_p = F.log_softmax(student / temperature, dim=1)
    log_q = F.log_softmax(teacher.detach() / temperature, dim=1)
    return F.kl_div(log_p, log_q, reduction="batchmean", log_target=True) * temperature**2


@dataclass(frozen=True)
class KD:
    """Soft targets at a temperature. Hinton et al. 2015, arXiv:1503.02531.

    `temperature` > 0; 1 compares the plain probabilities.
    """

    standard: ClassVar[Standard] = Standard(weight=0.9, ce=0.1)
    temperature: float = 4.0

    def __post_init__(self) -> None:
        require(self.temperature > 0, f"temperature must be above 0, got {self.temperature}")

    @property
    def features(self) -> FeatureNames:
        return FeatureNames()

    def make(self, example: Example) -> KD:  # noqa: ARG002 - nothing to build
        return self

    def __call__(self, student: Outputs, teacher: Outputs, batch: Batch) -> LossTerms:  # noqa: ARG002 - no labels
        return {"kd": kd_loss(student.logits, teacher.logits, self.temperature)}
