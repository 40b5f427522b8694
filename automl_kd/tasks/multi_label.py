"""Any number of labels for each input: binary cross entropy; mean average precision, or F1 averaged over the labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from automl_kd.tasks.base import LabelForm, Targets, TaskMeasures
from automl_kd.tasks.mixture import mean_binary_logits
from automl_kd.tasks.soft_targets import binary_kd_loss

SCORE_BINS = 4096
"""Of probabilities, by which inputs are ranked: those in one bin count as equal."""


@dataclass(frozen=True)
class MultiLabel:
    """Labels are float32 (n, labels), 1 where present. `metric`: "mean_average_precision" or "macro_f1", at 0.5."""

    name: ClassVar[str] = "multi-label"
    metrics: ClassVar[tuple[str, ...]] = ("mean_average_precision", "macro_f1")
    labels_are_classes: ClassVar[bool] = False
    labels_are_numbers: ClassVar[bool] = False
    metric: str = "mean_average_precision"

    def loss(self, logits: Tensor, targets: Targets, _form: LabelForm, smoothing: float, _unlabelled: bool) -> Tensor:
        first, seconds = targets.labels, targets.second_labels
        wanted = first if seconds is None else targets.share * first + (1 - targets.share) * seconds
        smoothed = wanted * (1 - smoothing) + smoothing / 2
        return F.binary_cross_entropy_with_logits(logits.float(), smoothed)

    def soft_loss(self, logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
        return binary_kd_loss(logits, teacher_logits, temperature)

    def average(self, outputs: Sequence[Tensor], shares: Sequence[float], temperature: float) -> Tensor:
        return mean_binary_logits(outputs, shares, temperature)

    def count(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Of each label and bin, the inputs that have it and those that have not."""
        first = SCORE_BINS * torch.arange(labels.shape[1], device=logits.device)
        bins = ((logits.sigmoid() * SCORE_BINS).long().clamp(0, SCORE_BINS - 1) + first).flatten()
        present, size = labels.flatten().double(), SCORE_BINS * labels.shape[1]
        having = (torch.bincount(bins, one, minlength=size) for one in (present, 1 - present))
        loss = F.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(dim=1).sum().double()
        return torch.cat([*having, loss[None]])

    def measure(self, sums: Tensor, count: int) -> TaskMeasures:
        there, absent = sums[:-1].view(2, -1, SCORE_BINS).flip(2).cumsum(2)  # of the inputs at least so probable
        whole = there[:, -1:]
        precision = there / (there + absent).clamp(min=1)
        each = (precision * there.diff(dim=1, prepend=torch.zeros_like(whole)) / whole.clamp(min=1)).sum(dim=1)
        if self.metric == "macro_f1":
            half = slice(SCORE_BINS // 2 - 1, SCORE_BINS // 2)
            each = (2 * there[:, half] / (there + absent)[:, half].add(whole).clamp(min=1)).flatten()
        return TaskMeasures(each[whole.flatten() > 0].mean().item(), sums[-1].item() / count)

    def strata(self, labels: Tensor) -> Tensor:
        """By the rarest label that an input has; those without any are one stratum."""
        rank = torch.where(labels > 0, labels.sum(dim=0), torch.inf)
        return torch.where(labels.any(dim=1), rank.argmin(dim=1), labels.shape[1])
