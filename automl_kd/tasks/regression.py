"""Numbers: mean squared error; the share of their variance that is explained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from automl_kd.tasks.base import LabelForm, Targets, TaskMeasures
from automl_kd.tasks.mixture import mean_numbers

STRATA = 10
"""Of equal size, by the first number."""


@dataclass(frozen=True)
class RegressionTask:
    """Labels are float32 (n, outputs). `metric`: "r2", 1 - mean squared error / variance, or "negative_mse".

    Labels should have a mean near 0 and a spread near 1; those that are far off are refused before training. The loss
    is the mean squared error.
    """

    name: ClassVar[str] = "regression"
    metrics: ClassVar[tuple[str, ...]] = ("r2", "negative_mse")
    labels_are_classes: ClassVar[bool] = False
    labels_are_numbers: ClassVar[bool] = True
    metric: str = "r2"

    def loss(self, logits: Tensor, targets: Targets, _form: LabelForm, _smoothing: float, _unlabelled: bool) -> Tensor:
        wanted, seconds = targets.labels, targets.second_labels
        return F.mse_loss(logits.float(), wanted if seconds is None else torch.lerp(seconds, wanted, targets.share))

    def soft_loss(self, logits: Tensor, teacher_logits: Tensor, _temperature: float) -> Tensor:
        """The mean squared difference; a temperature has no meaning here."""
        return F.mse_loss(logits.float(), teacher_logits.detach().float())

    def average(self, outputs: Sequence[Tensor], shares: Sequence[float], _temperature: float) -> Tensor:
        """The mean; a temperature has no meaning here, either."""
        return mean_numbers(outputs, shares)

    def count(self, logits: Tensor, labels: Tensor) -> Tensor:
        values = labels.double()
        return torch.stack([(logits - values).square().sum(0), values.sum(0), values.square().sum(0)]).flatten()

    def measure(self, sums: Tensor, count: int) -> TaskMeasures:
        errors, first, second = sums.view(3, -1) / count
        mse = errors.mean().item()
        explained = 1 - errors / (second - first.square()).clamp(min=1e-12)
        return TaskMeasures(explained.mean().item() if self.metric == "r2" else -mse, mse)

    def strata(self, labels: Tensor) -> Tensor:
        order = labels[:, 0].argsort(stable=True)
        return torch.empty_like(order).scatter_(0, order, torch.arange(len(order)) * STRATA // len(order))
