"""The loss on the labels, cross entropy or what another task has: the part of a weighted sum that needs no teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from automl_kd.data import Batch
from automl_kd.losses.base import Example, FeatureNames, LossFunction, LossTerms, Standard
from automl_kd.models.features import Outputs
from automl_kd.registry import check_fields
from automl_kd.spec import require
from automl_kd.tasks import LabelForm
from automl_kd.tasks.classification import binary_cross_entropy, cross_entropy, labelled_cross_entropy

__all__ = ["CrossEntropy", "binary_cross_entropy", "cross_entropy", "label_loss", "labelled_cross_entropy"]


def label_loss(
    logits: Float[Tensor, "batch classes"],
    batch: Batch,
    form: LabelForm = "ce",
    label_smoothing: float = 0.0,
    *,
    unlabelled: bool = False,
) -> Float[Tensor, ""]:
    """The loss on the labels of a batch, which its task decides; the mean over the inputs, which may be mixed images.

    `unlabelled`: whether labels may be missing.
    """
    return batch.task.loss(logits, batch, form, label_smoothing, unlabelled)


@dataclass(frozen=True)
class CrossEntropy:
    """The loss on the labels. `label_smoothing` in [0, 1); 0 takes the labels as they are.

    `form`: "ce", cross entropy, or "bce", binary cross entropy of each class. An image without a label has none.
    """

    standard: ClassVar[Standard] = Standard(weight=1.0)
    unlabelled: ClassVar[bool] = False
    label_smoothing: float = 0.0
    form: LabelForm = "ce"

    def __post_init__(self) -> None:
        check_fields(self)
        require(0 <= self.label_smoothing < 1, f"label_smoothing must lie in [0, 1), got {self.label_smoothing}")

    @property
    def features(self) -> FeatureNames:
        return FeatureNames()

    def make(self, example: Example) -> LossFunction:
        return LabelledCrossEntropy(self.label_smoothing, self.form) if bool((example.labels < 0).any()) else self

    def __call__(self, student: Outputs, teacher: Outputs, batch: Batch) -> LossTerms:  # noqa: ARG002 - no teacher
        return {"ce": label_loss(student.logits, batch, self.form, self.label_smoothing, unlabelled=self.unlabelled)}


class LabelledCrossEntropy(CrossEntropy):
    """The same for batches in which labels may be missing."""

    unlabelled: ClassVar[bool] = True
