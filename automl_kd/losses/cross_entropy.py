"""Cross entropy on the labels: the part of a weighted sum that needs no teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from automl_kd.data import UNLABELLED, Batch
from automl_kd.losses.base import Example, FeatureNames, LossFunction, LossTerms, Standard, in_float32
from automl_kd.models.features import Outputs
from automl_kd.spec import require


@in_float32
def cross_entropy(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"], *, label_smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """The mean over the images, of logits in half precision computed in single: CUDA's autocast, which leaves torch's
    own alone, would round every log-probability to three digits.
    """
    return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)


@in_float32
def labelled_cross_entropy(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"], *, label_smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """`cross_entropy` where labels may be `UNLABELLED`: these images add 0 to the mean over all."""
    summed = F.cross_entropy(logits, labels, label_smoothing=label_smoothing, ignore_index=UNLABELLED, reduction="sum")
    return summed / len(labels)


@dataclass(frozen=True)
class CrossEntropy:
    """Cross entropy on the labels. `label_smoothing` in [0, 1); 0 takes the labels as they are.

    An image without a label has none.
    """

    standard: ClassVar[Standard] = Standard(weight=1.0)
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        require(0 <= self.label_smoothing < 1, f"label_smoothing must lie in [0, 1), got {self.label_smoothing}")

    @property
    def features(self) -> FeatureNames:
        return FeatureNames()

    def make(self, example: Example) -> LossFunction:
        return LabelledCrossEntropy(self.label_smoothing) if bool((example.labels < 0).any()) else self

    def __call__(self, student: Outputs, teacher: Outputs, batch: Batch) -> LossTerms:  # noqa: ARG002 - no teacher
        return {"ce": cross_entropy(student.logits, batch.labels, label_smoothing=self.label_smoothing)}


class LabelledCrossEntropy(CrossEntropy):
    """The same for batches in which labels may be missing."""

    def __call__(self, student: Outputs, teacher: Outputs, batch: Batch) -> LossTerms:  # noqa: ARG002 - no teacher
        return {"ce": labelled_cross_entropy(student.logits, batch.labels, label_smoothing=self.label_smoothing)}
