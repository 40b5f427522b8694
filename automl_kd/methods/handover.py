"""A trained student as it is handed over: a card that says how to build it, beside its weights."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from torch import nn

from automl_kd.errors import CheckpointError
from automl_kd.models import build, load_space
from automl_kd.models.checkpoint import load_weights
from automl_kd.models.surgery import Description, build_from
from automl_kd.results.folder import write_atomically
from automl_kd.space import TaskShape
from automl_kd.spec import TrialSpec


def write_card(folder: Path, spec: TrialSpec, shape: TaskShape) -> None:
    """Put the spec and the shape of images and classes into `folder/student.json`."""
    card = {"shape": dataclasses.asdict(shape), "spec": json.loads(spec.to_json())}
    write_atomically(folder / "student.json", json.dumps(card, indent=1))


def load_student(folder: Path | str, *, best: bool = False) -> nn.Module:
    """The student of a finished trial, on the processor and in evaluation mode.

    `folder`: `trials/<key>` of an experiment. `best`: with the weights of the epoch best on validation instead of the
    last. Images are float32 (batch, channels, height, width), normalised by the mean and deviation of the training set.
    `CheckpointError` if the trial did not finish or its files are damaged.
    """
    folder = Path(folder)
    try:
        card = json.loads((folder / "student.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{folder} holds no finished student ({error}); give the folder trials/<key> of a complete trial"
        ) from error
    spec, shape = TrialSpec.from_json(json.dumps(card["spec"])), TaskShape(**card["shape"])
    found = folder / "subgraph.json"  # where a method cut the student out of its teacher
    if found.exists():
        student = build_from(Description.from_json(found.read_text(encoding="utf-8")), shape)
    else:
        student = build(load_space(spec.space), spec.architecture, shape, seed=0)
    load_weights(student, folder / ("student_best.pt" if best else "student.pt"))
    return student.eval()
