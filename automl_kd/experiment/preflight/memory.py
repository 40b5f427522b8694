"""How much memory a training needs on its device, by what one step of the baseline student keeps."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from automl_kd.data import Batch, Dataset, Split, plain_view
from automl_kd.experiment.context import ExperimentContext
from automl_kd.losses.cross_entropy import label_loss
from automl_kd.memory import machine_bytes
from automl_kd.models.costs.cost import count_cost
from automl_kd.models.input_adapter import train_at
from automl_kd.models.memory_layout import laid_out
from automl_kd.results import units
from automl_kd.training.trial import build_student, build_teacher

TRIED = 8
"""Images of the step that is looked at; what it keeps grows with their number."""

SINGLE = 4
"""Bytes of a number in single precision."""

PROCESS_BYTES, FREE_MEMORY = 0.7e9, 0.8
"""Of a worker beside its training, and the share of the machine's memory that trainings may fill."""

STATES = {"sgd": 1, "adamw": 2, "lamb": 2}
"""Numbers that an optimizer remembers for each weight."""


@dataclass(frozen=True)
class TrainingMemory:
    """In bytes. `kept`: of one step, from the forward pass for the backward; `student`: weights, gradients and what the
    optimizer remembers; `teacher`: its weights; `images`: all of them, which stay on the device.

    What kernels need on the way, and the teacher's own maps, one at a time, come on top.
    """

    kept: float
    student: float
    teacher: float
    images: float
    batch: int

    @property
    def total(self) -> float:
        return self.kept + self.student + self.teacher + self.images


def training_memory(context: ExperimentContext) -> TrainingMemory:
    """Of the baseline student's training; in float32, though autocast keeps less."""
    experiment, dataset = context.experiment, context.dataset
    recipe = experiment.recipe
    with torch.random.fork_rng(devices=[]):
        student = build_student(context.space, context.baseline, dataset, seed=0).train()
        train_at(student, recipe.train_resolution)
        teacher = build_teacher(experiment.teacher, dataset)
    split = dataset.train
    rows = largest_rows(split)
    batch = Batch(plain_view(dataset, split, rows), split.labels[rows], split.index[rows], epoch=1, task=dataset.task)
    batch = replace(batch, inputs=laid_out(batch.inputs, recipe))
    at_once = recipe.batch_size / recipe.grad_accumulation
    return TrainingMemory(
        kept=kept_for_backward(student, batch) * at_once / len(rows),
        student=(2 + STATES[recipe.optimizer] + (recipe.ema > 0)) * size_in_bytes(student.parameters()),
        teacher=SINGLE * count_cost(teacher, dataset.shape).params,
        images=sum(size_in_bytes([one.inputs]) for one in all_splits(dataset) if one.streamed is None),
        batch=recipe.batch_size,
    )


def largest_rows(split: Split) -> Tensor:
    """Rows of a few inputs: of texts the longest."""
    count = min(TRIED, len(split))
    return torch.arange(count) if split.lengths is None else split.lengths.argsort(descending=True, stable=True)[:count]


def trainings_in_memory(context: ExperimentContext) -> int:
    """How many trainings of the baseline student this machine has memory for; at least one."""
    return max(1, int(FREE_MEMORY * machine_bytes() // (training_memory(context).total + PROCESS_BYTES)))


def keep_trials_to_memory(context: ExperimentContext) -> ExperimentContext:
    """No more trials at once than this machine has memory for, where nobody has said how many; noted where it limits.

    For the run alone: what is on record stays the same on every machine. HyperBand needs room for trials that wait.
    """
    trial = context.experiment.trial
    at_once = (os.cpu_count() or 1) // (trial.cpus * trial.workers)
    if trial.max_concurrent or at_once <= 1 or context.experiment.search.scheduler == "hyperband":
        return context
    fitting = max(1, trainings_in_memory(context) // trial.workers)
    if fitting >= at_once:
        return context
    context.watcher.note(
        f"{fitting} of {at_once} trials run at once, as this machine has memory for no more trainings; "
        "trial.max_concurrent sets another number"
    )
    limited = replace(context.experiment, trial=replace(trial, max_concurrent=fitting))
    return replace(context, experiment=limited)


def kept_for_backward(student: nn.Module, batch: Batch) -> int:
    """Bytes that a forward pass and its loss keep, each storage once, without those of weights."""
    weights = {one.untyped_storage().data_ptr() for one in student.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(value: Tensor) -> Tensor:
        kept[value.untyped_storage().data_ptr()] = value  # held, so that its place is not given to another
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        label_loss(student(batch.inputs), batch)
    return sum(one.untyped_storage().nbytes() for place, one in kept.items() if place not in weights)


def size_in_bytes(tensors: Iterable[Tensor]) -> int:
    return sum(one.numel() * one.element_size() for one in tensors)


def all_splits(dataset: Dataset) -> list[Split]:
    return [dataset.for_transfer.train, dataset.validation, dataset.test]


def sentence_of_memory(found: TrainingMemory) -> str:
    parts = {"the student, its gradients and optimizer": found.student, "the teacher": found.teacher}
    parts["all images"] = found.images
    listed = ", ".join(f"{in_bytes(size)} of {what}" for what, size in parts.items())
    return (
        f"a training of the baseline student needs about {in_bytes(found.total)}: {in_bytes(found.kept)} kept for the "
        f"backward pass of a batch of {found.batch}, {listed}"
    )


def in_bytes(size: float) -> str:
    number = units.format_count(size)
    return f"{number}B" if number[-1].isalpha() else f"{number} B"
