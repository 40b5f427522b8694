"""One class of several: cross entropy; accuracy, or F1 averaged over the classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from automl_kd.tasks.base import UNLABELLED, LabelForm, Targets, TaskMeasures
from automl_kd.tasks.mixture import mean_logits
from automl_kd.tasks.precision import in_float32
from automl_kd.tasks.soft_targets import kd_loss

PRESENT = 0.2
"""The share of a mixed image above which its class counts as present in binary cross entropy."""


@dataclass(frozen=True)
class Classification:
    """`metric`: "accuracy", the share that is classified right, or "macro_f1", the mean of the classes' F1."""

    name: ClassVar[str] = "classification"
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "macro_f1")
    labels_are_classes: ClassVar[bool] = True
    labels_are_numbers: ClassVar[bool] = False
    metric: str = "accuracy"

    def loss(
        self, logits: Tensor, targets: Targets, form: LabelForm, label_smoothing: float, unlabelled: bool
    ) -> Tensor:
        """Cross entropy is that on both labels of a mixed image, by their shares."""
        seconds = targets.second_labels
        shares = [(targets.labels, targets.share)]
        shares += [] if seconds is None else [(seconds, 1 - targets.share)]
        if form == "bce":
            present = [labels for labels, share in shares if share > PRESENT]
            return binary_cross_entropy(logits, present, label_smoothing=label_smoothing)
        one = labelled_cross_entropy if unlabelled else cross_entropy
        terms = [one(logits, labels, label_smoothing=label_smoothing) for labels, _ in shares]
        return terms[0] if seconds is None else shares[0][1] * terms[0] + shares[1][1] * terms[1]

    def soft_loss(self, logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
        return kd_loss(logits, teacher_logits, temperature)

    def average(self, outputs: Sequence[Tensor], shares: Sequence[float], temperature: float) -> Tensor:
        return mean_logits(outputs, shares, temperature)

    def count(self, logits: Tensor, labels: Tensor) -> Tensor:
        predicted = logits.argmax(1)
        loss = F.cross_entropy(logits, labels, reduction="sum").double()
        if self.metric == "accuracy":
            return torch.stack([(predicted == labels).sum().double(), loss])
        classes = logits.shape[1]
        counted = (labels[predicted == labels], predicted, labels)
        return torch.cat([*(torch.bincount(one, minlength=classes).double() for one in counted), loss[None]])

    def measure(self, sums: Tensor, count: int) -> TaskMeasures:
        *counted, loss = sums.tolist()
        if self.metric == "accuracy":
            return TaskMeasures(counted[0] / count, loss / count)
        right, predicted, there = torch.tensor(counted, dtype=torch.float64).view(3, -1)
        present = there > 0  # a class that nobody has has no F1
        return TaskMeasures((2 * right / (predicted + there).clamp(min=1))[present].mean().item(), loss / count)

    def strata(self, labels: Tensor) -> Tensor:
        return labels


@in_float32
def cross_entropy(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"], *, label_smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """The mean over the inputs, of logits in half precision computed in single: CUDA's autocast, which leaves torch's
    own alone, would round every log-probability to three digits.
    """
    return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)


@in_float32
def labelled_cross_entropy(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"], *, label_smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """`cross_entropy` where labels may be `UNLABELLED`: these inputs add 0 to the mean over all."""
    summed = F.cross_entropy(logits, labels, label_smoothing=label_smoothing, ignore_index=UNLABELLED, reduction="sum")
    return summed / len(labels)


@in_float32
def binary_cross_entropy(
    logits: Float[Tensor, "batch classes"], labels: Sequence[Int[Tensor, " batch"]], *, label_smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Each class by itself, present or not; the mean over classes and inputs. `labels`: of each class that is present.

    Wightman, Touvron, Jégou. ResNet strikes back. 2021. arXiv:2110.00476, section 3: classes of a mixed image are all
    present. `label_smoothing` as in timm: `s / classes` for absent classes, `1 - s + s / classes` for present ones.
    Inputs of the label `UNLABELLED` add 0.
    """
    classes = logits.shape[1]
    target = torch.full_like(logits, label_smoothing / classes)
    for one in labels:
        target.scatter_(1, one.clamp(min=0)[:, None], 1 - label_smoothing + label_smoothing / classes)
    each = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(dim=1)
    return each.masked_fill(labels[0] == UNLABELLED, 0).mean()
