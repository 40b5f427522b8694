"""What a teacher makes of validation images under one preprocessing: right answers, losses, agreement, class order."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from automl_kd.data import Dataset, plain_view
from automl_kd.experiment.preflight.layer_statistics import Agreement, agreement_of, watching_norms
from automl_kd.models.input_adapter import InputAdapter, adapted
from automl_kd.models.memory_layout import channels_last
from automl_kd.spec import Preprocessing, TeacherSpec
from automl_kd.training.trial import teacher_adapter

PASS_BATCH = 50

TEMPERATURES = tuple(math.exp(step / 4) for step in range(-12, 17))
"""From 0.05 to 55."""


@dataclass(frozen=True, eq=False)
class TeacherReading:
    """`name`: of the preprocessing, for people. `logits`: float64 (images, outputs), of all outputs of the teacher.

    `classes`: the output of each class, as configured. `seconds`: of the passes, for one image.
    """

    name: str
    preprocessing: Preprocessing
    logits: Tensor
    labels: Tensor
    classes: tuple[int, ...]
    agreement: Agreement | None
    seconds: float

    @property
    def accuracy(self) -> float:
        return share_right(self.logits, self.labels, self.classes)

    @property
    def losses(self) -> Tensor:
        return sharpest_losses(self.logits, self.labels, self.classes)

    @property
    def fits(self) -> bool | None:
        return None if self.agreement is None else self.agreement.fits


def share_right(logits: Tensor, labels: Tensor, classes: Sequence[int]) -> float:
    return float((logits[:, list(classes)].argmax(1) == labels).double().mean())


def sharpest_losses(logits: Tensor, labels: Tensor, classes: Sequence[int]) -> Tensor:
    """The cross entropy of each image, at the temperature at which their mean is least.

    So that a preprocessing which only makes a teacher less sure of itself is not taken for a better one.
    """
    chosen = logits[:, list(classes)].double()
    found = [torch.nn.functional.cross_entropy(chosen / t, labels, reduction="none") for t in TEMPERATURES]
    return min(found, key=lambda losses: float(losses.mean()))


def read_under(
    network: nn.Module, teacher: TeacherSpec, dataset: Dataset, rows: Tensor, name: str, preprocessing: Preprocessing
) -> TeacherReading:
    """Run `network`, which has its weights and no adapter, on the validation images at `rows`.

    Under `preprocessing`, and otherwise as `teacher` says.
    """
    split = dataset.validation
    described = teacher_adapter(replace(teacher, preprocessing=preprocessing), dataset)
    adapter = InputAdapter(described.size, described.factor, described.shift, described.reverse)
    begun, found = time.monotonic(), []
    with adapted(network, adapter), watching_norms(network) as watched, torch.no_grad():
        for piece in torch.split(rows, PASS_BATCH):
            images = channels_last(plain_view(dataset, split, piece))
            found.append(network(images).double())
    return TeacherReading(
        name=name,
        preprocessing=preprocessing,
        logits=torch.cat(found),
        labels=split.labels[rows],
        classes=teacher.classes or tuple(range(dataset.shape.classes)),
        agreement=agreement_of(watched),
        seconds=(time.monotonic() - begun) / len(rows),
    )


def assigned_classes(logits: Tensor, labels: Tensor, classes: int) -> tuple[int, ...]:
    """The output for each class by which the images' labels are likeliest: an assignment, each output at most once."""
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415  half a second to import

    likelihoods = torch.log_softmax(logits.double(), dim=1)
    gains = torch.zeros(classes, logits.shape[1], dtype=torch.float64)
    gains.index_add_(0, labels.cpu(), likelihoods.cpu())
    _, outputs = linear_sum_assignment(gains.numpy(), maximize=True)
    return tuple(outputs.tolist())


def reordered_losses(reading: TeacherReading) -> tuple[Tensor, float]:
    """Losses and accuracy under orders of classes that each half of the images has found for the other."""
    count, classes = len(reading.labels), len(reading.classes)
    halves = torch.arange(count, device=reading.labels.device) % 2
    losses, right = torch.zeros(count, dtype=torch.float64, device=reading.labels.device), 0.0
    for half in (0, 1):
        others, own = halves != half, halves == half
        order = assigned_classes(reading.logits[others], reading.labels[others], classes)
        losses[own] = sharpest_losses(reading.logits[own], reading.labels[own], order)
        right += share_right(reading.logits[own], reading.labels[own], order) * float(own.double().mean())
    return losses, right
