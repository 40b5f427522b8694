"""The loss on the labels, cross entropy or binary cross entropy: the part of a weighted sum that needs no teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from automl_kd.data import UNLABELLED, Batch
from automl_kd.losses.base import Example, FeatureNames, LossFunction, LossTerms, Standard, in_float32
from automl_kd.models.features import Outputs
from automl_kd.registry import check_fields
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


LabelForm = Literal["ce", "bce"]
"""Cross entropy over the classes, or binary cross entropy of each class by itself."""

PRESENT = 0.2
"""The share of a mixed image above which its class counts as present in binary cross entropy."""


@in_float32
def binary_cross_entropy(
    logits: Float[Tensor, "batch classes"], labels: Sequence[Int[Tensor, " batch"]], *, label_smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Each class by itself, present or not; the mean over classes and images. `labels`: of each class that is present.

    Wightman, Touvron, Jégou. ResNet strikes back. 2021. arXiv:2110.00476, section 3: classes of a mixed image are all
    present. `label_smoothing` as in timm: `s / classes` for absent classes, `1 - s + s / classes` for present ones.
    Images of the label `UNLABELLED` add 0.
    """
    classes = logits.shape[1]
    target = torch.full_like(logits, label_smoothing / classes)
    for one in labels:
        target.scatter_(1, one.clamp(min=0)[:, None], 1 - label_smoothing + label_smoothing / classes)
    each = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(dim=1)
    return each.masked_fill(labels[0] == UNLABELLED, 0).mean()


def label_loss(
    logits: Float[Tensor, "batch classes"],
    batch: Batch,
    form: LabelForm = "ce",
    label_smoothing: float = 0.0,
    *,
    unlabelled: bool = False,
) -> Float[Tensor, ""]:
    """The loss on the labels of a batch, whose images may be mixed; the mean over the images.

    Cross entropy is that on both labels of a mixed image, by their shares. `unlabelled`: whether labels may be missing.
    """
    seconds = batch.second_labels
    shares = (
        [(batch.labels, batch.share)] if seconds is None else [(batch.labels, batch.share), (seconds, 1 - batch.share)]
    )
    if form == "bce":
        present = [labels for labels, share in shares if share > PRESENT]
        return binary_cross_entropy(logits, present, label_smoothing=label_smoothing)
    one = labelled_cross_entropy if unlabelled else cross_entropy
    terms = [one(logits, labels, label_smoothing=label_smoothing) for labels, _ in shares]
    return terms[0] if seconds is None else shares[0][1] * terms[0] + shares[1][1] * terms[1]


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
