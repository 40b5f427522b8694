"""A teacher that is a file, `file:PATH`, of which nothing but outputs is seen: checked before anything is trained."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from torch import Tensor

from automl_kd.data import Dataset
from automl_kd.errors import ConfigError
from automl_kd.experiment.progress.events import Watcher
from automl_kd.experiment.sentences import in_a_sentence
from automl_kd.models.black_box.file import GRAPHS, graph_place, load_graph
from automl_kd.models.black_box.network import BlackBox
from automl_kd.models.costs.cost import blank_inputs
from automl_kd.models.features import KeepOutput
from automl_kd.models.pickled import label_pickled
from automl_kd.spec import BLACK_BOX, TeacherSpec
from automl_kd.training.trial import teacher_shape


def refuse_graph_as_weights(teacher: TeacherSpec) -> None:
    """`ConfigError` for the file of a network where one of weights was wanted, or for one of weights beside it."""
    whole, checkpoint = teacher.model.startswith(BLACK_BOX), teacher.checkpoint
    if whole and checkpoint not in {"", graph_place(teacher.model)}:
        raise ConfigError(
            f"teacher.model = {teacher.model!r} has its weights in its file, and teacher.checkpoint = {checkpoint!r} "
            "would not be read; drop it"
        )
    if not whole and Path(checkpoint).suffix in GRAPHS:
        raise ConfigError(
            f"teacher.checkpoint = {checkpoint!r} is a network with its weights, of which only outputs can be seen; "
            f'write teacher.model = "{BLACK_BOX}{checkpoint}" in its place, or save its weights alone'
        )


def with_graph(teacher: TeacherSpec) -> TeacherSpec:
    """The teacher that is a file with its hash: as its checkpoint too, with images of the size that its graph fixes."""
    if teacher.all_labels:
        raise ConfigError("teacher.all_labels is for a teacher that is trained here, and this one is a file; drop it")
    place = graph_place(teacher.model)
    return dataclasses.replace(
        teacher,
        checkpoint=place,
        digest=teacher.model.removeprefix(f"{BLACK_BOX}{place}@sha256-"),
        resolution=teacher.resolution or load_graph(teacher.model).input.resolution,
    )


def with_outputs(teacher: TeacherSpec, dataset: Dataset) -> TeacherSpec:
    """The teacher that is a file with its outputs counted; `ConfigError` if it is not known which are wanted."""
    name, shape = label_pickled(teacher.model), teacher_shape(teacher, dataset)
    with in_a_sentence(f"teacher {name!r}", shape):
        network = BlackBox(teacher.model, shape)
        total = network(blank_inputs(network, shape)).shape[1]
    if teacher.total_classes not in {0, total}:
        raise ConfigError(
            f"{name} has {total:,} outputs, and teacher.total_classes = {teacher.total_classes} names another number; "
            "drop it"
        )
    if total != dataset.shape.classes and not teacher.classes and not teacher.class_names:
        raise ConfigError(
            f"{name} has {total:,} outputs, and {dataset.name} {dataset.shape.classes} classes; say by teacher.classes "
            "or teacher.class_names which of its outputs these are"
        )
    return with_classes(teacher, teacher.classes, total)


def with_classes(teacher: TeacherSpec, classes: tuple[int, ...], total: int) -> TeacherSpec:
    """`ConfigError` for outputs that it does not have."""
    try:
        return dataclasses.replace(teacher, classes=classes, total_classes=total)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def note_black_box(network: BlackBox, images: Tensor, watcher: Watcher) -> None:
    """Note what the teacher is and what runs it.

    `network`: with its adapter, if it has one. `images`: of the data.
    """
    kept: list[Tensor] = []
    handle = network.register_forward_hook(KeepOutput(kept), prepend=True)
    with torch.no_grad():
        network(images)
    handle.remove()
    own, shape, name = network.graph.input, network.shape, network.graph.name
    fixed = ", which its graph fixes" if own.resolution else ""
    at_once = f", {own.least} at a time" if own.least == own.most else ""
    watcher.note(
        f"teacher {name}: images of {shape.channels}x{shape.height}x{shape.width}{fixed}{at_once}; "
        f"{kept[0].shape[1]:,} outputs; run by {network.graph.describe_runtime()}"
    )
