"""What a proxy is given (a probe), what it promises, and what its entry in the table says about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from automl_kd.errors import DataError
from automl_kd.models.taps import Outputs, Tapped
from automl_kd.proxies.guard import untouched
from automl_kd.proxies.initialisation import normal_weights
from automl_kd.space import TaskShape

TAPS = ("pre_pool", "pooled")
"""What is kept of a forward pass: the last map before global pooling, and the vectors that the classifier sees."""


@dataclass(frozen=True, eq=False)
class Probe:
    """One mini-batch and what the teacher makes of it: all that a proxy may look at besides the student.

    `images`: (batch, channels, height, width), normalised as for training. `labels`: (batch,), in 0 .. classes - 1.
    `teacher`: the teacher's outputs on `images` at the taps of `TAPS`, computed once and shared by all students; None
    where there is no teacher. All tensors lie on one device, which is where students are scored. Raises `DataError`
    if the images or labels do not fit `shape`.
    """

    images: Tensor
    labels: Tensor
    shape: TaskShape
    teacher: Outputs | None = None

    def __post_init__(self) -> None:
        wanted = (len(self.labels), self.shape.channels, self.shape.height, self.shape.width)
        if tuple(self.images.shape) != wanted or not len(self.labels):
            raise DataError(
                f"a probe got images of shape {tuple(self.images.shape)}, but {len(self.labels)} labels and the task "
                f"want {wanted}; give one label for each image of the task's shape"
            )
        if int(self.labels.min()) < 0 or int(self.labels.max()) >= self.shape.classes:
            raise DataError(
                f"a probe got labels from {int(self.labels.min())} to {int(self.labels.max())}, but the task has "
                f"{self.shape.classes} classes; number them 0 to {self.shape.classes - 1}"
            )


@runtime_checkable
class Proxy(Protocol):
    """A score of an untrained student; higher promises better.

    The student arrives in training mode. A proxy may do as it likes with its weights, buffers, gradients, mode, hooks
    and torch's global generator, because `score` puts them back. It must not change the probe, which the next student
    is to see as well, nor keep anything between calls: equal students and probes give equal scores.
    """

    def __call__(self, student: nn.Module, probe: Probe, /) -> float: ...


@dataclass(frozen=True)
class OfOutputs:
    """The proxy that only reads the outputs of one forward pass in training mode.

    Proxies of this kind share that pass when several of them are asked for.
    """

    measure: Callable[[Outputs, Probe], float]

    def __call__(self, student: nn.Module, probe: Probe) -> float:
        return self.measure(forward(student, probe.images), probe)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A proxy and what `score` must know to call it.

    `source`: the paper, in one line. `initialisation`: the weights that it wants, as the network's builder leaves them
    ("default") or of unit variance ("normal", see `normal_weights`). `needs_gradient`: without it, the proxy runs in
    inference mode. `needs_teacher`: the probe must have the teacher's outputs.
    """

    proxy: Proxy
    source: str
    initialisation: Literal["default", "normal"] = "default"
    needs_gradient: bool = False
    needs_teacher: bool = False


def forward(network: nn.Module, images: Tensor) -> Outputs:
    """Logits and the maps of `TAPS`. `UnknownNameError` if the network has no such tap."""
    with Tapped(network, TAPS) as tapped:
        return tapped(images)


def make_probe(
    images: Tensor, labels: Tensor, shape: TaskShape, teacher: nn.Module | None = None, *, seed: int | None = None
) -> Probe:
    """The probe for these images, with the teacher run once in training mode (batch statistics).

    `seed`: draw the teacher's weights from N(0, 1) as DisWOT's ranking does; None keeps those it has, which suits a
    trained teacher. The teacher itself is left as it was.
    """
    images = images.contiguous(memory_format=torch.channels_last)
    if teacher is None:
        return Probe(images, labels, shape)
    with untouched(teacher), torch.no_grad():
        teacher.to(images.device).to(memory_format=torch.channels_last).train()
        if seed is not None:
            normal_weights(teacher, "teacher", seed)
        outputs = forward(teacher, images)
    if outputs.logits.shape[1] != shape.classes:
        raise DataError(
            f"the teacher tells {outputs.logits.shape[1]} classes apart, but the task has {shape.classes}; "
            "take a teacher for this task"
        )
    return Probe(images, labels, shape, outputs)
