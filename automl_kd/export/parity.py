"""Parity: on real validation images, exported graphs do what the student does.

Random images do not show the published faults of exporters (pytorch issues 169178, 166797 and 168224: nothing right on
ImageNet, a wrong bias). A graph in float is refused if its accuracy differs by more than an image or 0.1 points,
whichever is larger; if it names another class for an image that the student is sure of; or if an output is off by more
than a hundredth of the largest logit, which changed weights show on few images. One in eight bits is refused if it
loses more accuracy than is allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from automl_kd.errors import ExportError
from automl_kd.export.runners import Run

ACCURACY_TOLERANCE = 0.001
"""A fraction, 0.1 points; less than an image of a small set."""

SURE = 10
"""An image is a sure one where the top two logits lie further apart than so many times the largest difference."""

LOGIT_TOLERANCE = 0.01
"""The largest difference, as a fraction of the largest logit."""

RECORDED_TOLERANCE = 0.02
"""A fraction: how far training in other numbers, as on a GPU, may have measured another accuracy; or two images."""

SMALLEST_PROBABILITY = 1e-30


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How a graph compares with the student, on the same images.

    `difference`: the largest of all logits. `largest_logit`: of the student's. `changed`: images of which the graph
    names another class. `sure_changed`: those of them that the student is sure of: further from its second class than
    `SURE` times the largest difference on images of the same class. (The largest of all would always excuse them, as a
    change of class is a difference of at least half of the distance.) `finite`: whether all outputs are numbers.
    """

    batch: int
    images: int
    student_accuracy: float
    accuracy: float
    difference: float
    largest_logit: float
    changed: int
    sure_changed: int
    finite: bool

    @property
    def loss_points(self) -> float:
        """Of accuracy, in percentage points."""
        return 100 * (self.student_accuracy - self.accuracy)


def compare_outputs(student: Tensor, graph: Tensor, labels: Tensor, batch: int) -> Parity:
    """`student`, `graph`: logits (images, classes) of the same images. `labels`: int64 (images,)."""
    finite = bool(graph.isfinite().all())
    off = (graph - student).abs().nan_to_num(nan=torch.inf).amax(1)
    other = graph.argmax(1) != student.argmax(1)
    top = student.topk(2, 1).values
    elsewhere = float(off[~other].max()) if bool((~other).any()) else 0.0
    return Parity(
        batch=batch,
        images=len(labels),
        student_accuracy=float((student.argmax(1) == labels).double().mean()),
        accuracy=float((graph.argmax(1) == labels).double().mean()),
        difference=float(off.max()),
        largest_logit=float(student.abs().max()),
        changed=int(other.sum()),
        sure_changed=int((other & (top[:, 0] - top[:, 1] > SURE * elsewhere)).sum()),
        finite=finite,
    )


def as_logits(probabilities: Tensor) -> Tensor:
    """Up to a constant for each image, so that differences of classes are those of the logits."""
    return probabilities.clamp_min(SMALLEST_PROBABILITY).log()


def require_finite(file: str, logits: Tensor) -> None:
    """`ExportError` for outputs of the graph in `file` that are no numbers."""
    if not bool(logits.isfinite().all()):
        raise ExportError(f"{file} returns outputs that are no numbers on validation images; leave that form out")


def require_parity(file: str, found: Parity) -> None:
    """`ExportError` unless the graph in `file`, in float, does what the student does."""
    allowed = max(1 / found.images, ACCURACY_TOLERANCE) * (1 + 1e-9)
    where = f"{file}, at batch {found.batch} on {found.images:,} validation images,"
    if not found.finite:
        fault = "returns outputs that are no numbers"
    elif abs(found.student_accuracy - found.accuracy) > allowed:
        fault = f"is right on {found.accuracy:.2%} of them and the student on {found.student_accuracy:.2%}"
    elif found.sure_changed:
        fault = f"names another class for {found.sure_changed:,} of which the student is sure"
    elif found.difference > LOGIT_TOLERANCE * found.largest_logit:
        fault = f"is off by up to {found.difference:.3g} where the largest logit is {found.largest_logit:.3g}"
    else:
        return
    raise ExportError(f"{where} {fault}; nothing was written, as this export would not be the student")


def require_recorded_accuracy(found: Parity, recorded: float | None) -> None:
    """`ExportError` unless the student, in torch, is as accurate as when it was trained: a fraction, None if unknown.

    Graphs that agree with a student that is given the wrong images, or whose classes have changed, prove nothing.
    """
    allowed = max(2 / found.images, RECORDED_TOLERANCE) + 1e-9
    if recorded is None or abs(found.student_accuracy - recorded) <= allowed:
        return
    raise ExportError(
        f"the student is right on {found.student_accuracy:.2%} of {found.images:,} validation images, and its results "
        f"say {recorded:.2%}; bring its images, or the code that builds it, back to what they were in its training"
    )


def require_small_loss(file: str, found: Parity, allowed: float) -> None:
    """`ExportError` if the graph in `file`, in eight bits, loses more than `allowed` points of accuracy."""
    if found.finite and found.loss_points <= allowed + 1e-9:
        return
    raise ExportError(
        f"{file} is right on {found.accuracy:.2%} of {found.images:,} validation images and the student on "
        f"{found.student_accuracy:.2%}, a loss of {found.loss_points:.2f} points where {allowed:g} are allowed; raise "
        "--max-int8-loss, or export without --int8"
    )


@dataclass(frozen=True)
class GraphRun:
    """A graph, and what it is given of the images that the student is given. `probabilities`: what it returns."""

    run: Run
    give: Callable[[Tensor], Tensor]
    probabilities: bool


def measure_graphs(
    student: Run, graphs: Mapping[str, GraphRun], images: Callable[[Tensor], Tensor], labels: Tensor, batch: int
) -> dict[str, Parity]:
    """How each of `graphs`, by file, compares with `student` on the images at all rows of `labels`.

    `images`: as the student is given those at rows.
    """
    theirs: dict[str, list[Tensor]] = {name: [] for name in graphs}
    ours: list[Tensor] = []
    for rows in torch.split(torch.arange(len(labels)), batch):
        given = images(rows)
        ours.append(student(given))
        for name, graph in graphs.items():
            made = graph.run(graph.give(given))
            theirs[name].append(as_logits(made) if graph.probabilities else made)
    logits = torch.cat(ours)
    found = {}
    for name, graph in graphs.items():
        expected = as_logits(logits.softmax(1)) if graph.probabilities else logits
        found[name] = compare_outputs(expected, torch.cat(theirs[name]), labels, batch)
    return found
