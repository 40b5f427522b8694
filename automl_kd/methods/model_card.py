"""Exports of trained students: the model card describes how to build a student, beside its weights."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from automl_kd import files, storage
from automl_kd.errors import CheckpointError, ConfigError, FileError
from automl_kd.models import SUBGRAPH, build, build_from, load_space
from automl_kd.models.costs.outline import LayerOutline
from automl_kd.models.pickled import find_moved
from automl_kd.models.pruning.description import read_description
from automl_kd.models.teacher_mean import teacher_label
from automl_kd.models.weights.checkpoint import load_weights
from automl_kd.registry import PICKLED
from automl_kd.results.store.row import FROM_FILE
from automl_kd.space import InputShape, read_shape
from automl_kd.spec import TrialSpec

CARD = "student.json"

SUBGRAPH_FILE = "subgraph.json"
"""In a trial's folder, the description of a student that was cut out of another network."""


def write_card(folder: Path, spec: TrialSpec, shape: InputShape, layers: Sequence[LayerOutline] = ()) -> None:
    """Put the spec, the shape of images and classes and the student's layers into `folder`.

    A student whose space is a description in another folder gets a copy of it, so that this folder is complete.
    """
    file = spec.space.removeprefix("model:").removeprefix(SUBGRAPH)
    if spec.space == f"model:{SUBGRAPH}{file}" and not (folder / SUBGRAPH_FILE).exists():
        storage.write(folder / SUBGRAPH_FILE, read_description(file).to_json())
    card = {"shape": dataclasses.asdict(shape), "spec": json.loads(spec.to_json()), "layers": layers}
    storage.write(folder / CARD, json.dumps(card, indent=1))


def name_card(folder: Path, spec: TrialSpec) -> None:
    """Replace the spec of a stage by `spec` in the model card of `folder`."""
    card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    storage.write(folder / CARD, json.dumps({**card, "spec": json.loads(spec.to_json())}, indent=1))


def load_trained_student(folder: Path | str, *, best: bool = False, trusted: bool = False) -> nn.Module:
    """The student of a finished trial, on the processor and in evaluation mode.

    `folder`: `trials/<key>` of an experiment, here or in a bucket. `best`: with the weights of the epoch best on
    validation instead of the last. Images are float32 (batch, channels, height, width), normalised by the mean and
    deviation of the training set. `trusted`: also one that a Python program gave as an object, which is unpickled, and
    so can run any code.
    `CheckpointError` if the trial did not finish or its files are damaged, `ConfigError` for an object unless trusted.
    """
    folder = storage.local_path(folder)
    storage.pull(folder, weights=True)
    student = build_described(folder, trusted=trusted)
    load_weights(student, folder / ("student_best.pt" if best else "student.pt"))
    return student.eval()


def read_card(folder: Path) -> tuple[TrialSpec, InputShape]:
    """The spec and the shape of images and classes in the model card of `folder`; `CheckpointError` without one."""
    try:
        card = files.read_json(folder / CARD)
        return TrialSpec.from_json(json.dumps(card["spec"])), read_shape(card["shape"])
    except (FileError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{folder} holds no finished student ({error}); give the folder trials/<key> of a complete trial"
        ) from error


def build_described(folder: Path, *, trusted: bool, objects: Path | None = None) -> nn.Module:
    """The student that the model card of `folder` describes, with fresh weights.

    `objects`: where objects of a Python program may have been moved to; None for the experiment's folder.
    `trusted`, errors: as of `load_trained_student`.
    """
    spec, shape = read_card(folder)
    if (folder / SUBGRAPH_FILE).exists():
        return build_from(read_description(folder / SUBGRAPH_FILE), shape)
    space = find_moved(spec.space, objects or folder.parent.parent / "_objects")
    if PICKLED in space and not trusted:
        raise ConfigError(
            f"the student in {folder} was given as an object of a Python program, and reading it back runs code; "
            "pass trusted=True if you trust this folder"
        )
    return build(load_space(space), spec.architecture, shape, seed=0)


def student_label(spec: TrialSpec, folder: Path) -> str:
    """Describe the student of the trial in `folder`: the point of its space, or the network that it is part of.

    Not its kept channels, which differ between seeds, while the rows of one entry share one label. Of several teachers
    that are measured, all.
    """
    if spec.method == FROM_FILE and spec.teacher is not None and spec.teacher.others:
        return teacher_label(spec.teacher)
    if (folder / SUBGRAPH_FILE).exists() and SUBGRAPH not in spec.space:
        return f"{read_description(folder / SUBGRAPH_FILE).model} subgraph"
    return load_space(spec.space).label(spec.architecture)
