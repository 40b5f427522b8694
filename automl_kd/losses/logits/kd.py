"""Soft targets: match the teacher's softened class probabilities.

Geoffrey Hinton, Oriol Vinyals, Jeff Dean. Distilling the Knowledge in a Neural Network. 2015. arXiv:1503.02531, section
2. The weights 0.1 for the labels and 0.9 for the teacher at temperature 4 are those of the CIFAR-100 benchmark of Tian,
Krishnan, Isola. Contrastive Representation Distillation. 2020. arXiv:1910.10699.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from automl_kd.data import Batch
from automl_kd.losses.base import Example, FeatureNames, LossTerms, Standard
from automl_kd.models.features import Outputs
from automl_kd.spec import require
from automl_kd.tasks.soft_targets import kd_loss

__all__ = ["KD", "kd_loss"]


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

    def __call__(self, student: Outputs, teacher: Outputs, batch: Batch) -> LossTerms:
        return {"kd": batch.task.soft_loss(student.logits, teacher.logits, self.temperature)}
