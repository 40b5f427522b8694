"""The protocol of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple, Protocol

from torch import Tensor

UNLABELLED = -1
"""In place of a label, of inputs that have none."""

LabelForm = Literal["ce", "bce"]
"""Of one class among several: cross entropy over all, or binary cross entropy of each by itself."""


class Targets(Protocol):
    """What a batch says of its labels; `data.Batch` describes the fields."""

    @property
    def labels(self) -> Tensor: ...

    @property
    def second_labels(self) -> Tensor | None: ...

    @property
    def share(self) -> float: ...


class TaskMeasures(NamedTuple):
    """`metric`: what is followed, of which more is better. `loss`: the mean loss on the labels."""

    metric: float
    loss: float


class Task(Protocol):
    """`metrics`: what can be followed, the usual one first; of each, more is better. `metric`: the one that is.

    `labels_are_classes`: whether a label is the number of one class, int64 (n,), so that outputs are logits of a
    distribution over classes, which most losses and proxies ask for; of other tasks labels are float32 (n, outputs).
    `labels_are_numbers`: whether they are measured; else a label is 1 for what is present and 0 for what is not.
    """

    name: ClassVar[str]
    metrics: ClassVar[tuple[str, ...]]
    labels_are_classes: ClassVar[bool]
    labels_are_numbers: ClassVar[bool]

    @property
    def metric(self) -> str: ...

    def loss(
        self, logits: Tensor, targets: Targets, form: LabelForm, label_smoothing: float, unlabelled: bool, /
    ) -> Tensor:
        """The mean loss on the labels over the inputs. `unlabelled`: whether labels may be missing."""
        ...

    def soft_loss(self, logits: Tensor, teacher_logits: Tensor, temperature: float, /) -> Tensor:
        """How far a student's outputs are from its teacher's: plain KD for this task."""
        ...

    def average(self, outputs: Sequence[Tensor], shares: Sequence[float], temperature: float, /) -> Tensor:
        """What several teachers say together, each with its share, of which the sum is 1."""
        ...

    def count(self, logits: Tensor, labels: Tensor) -> Tensor:
        """float64 (k,): sums over a batch from which `measure` computes, for all batches added up."""
        ...

    def measure(self, sums: Tensor, count: int) -> TaskMeasures:
        """What `count` inputs come to, whose sums, float64 (k,), are these."""
        ...

    def strata(self, labels: Tensor) -> Tensor:
        """int64 (n,): a set is divided so that each part has its share of each of these."""
        ...
