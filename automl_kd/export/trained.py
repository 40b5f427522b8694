"""The accuracy in eight bits of a student that has just been trained, measured by the process that trained it.

It is what the task follows, as the trial's own accuracy is.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch

from automl_kd.errors import AutoMLKDError
from automl_kd.export import graphs
from automl_kd.export.folder import IMAGES_AT_ONCE, INT8, ONNX
from automl_kd.export.int8 import quantise_subject
from automl_kd.export.parity import require_finite
from automl_kd.export.runners import run_onnx
from automl_kd.export.subject import Subject
from automl_kd.methods.model_card import load_trained_student
from automl_kd.spec import INT8_ACCURACY, TrialPaths, TrialSpec
from automl_kd.training.trial import load_dataset


class Int8Result(NamedTuple):
    """`metrics`: the accuracy, if it could be measured, and `int8_seconds`. `note`: why it could not."""

    metrics: Mapping[str, float]
    note: str = ""


def measure_int8(spec: TrialSpec, paths: TrialPaths) -> Int8Result:
    """Export the student that `paths.trial` holds, quantise it and run it on the validation images.

    All on the processor, as `export_student` does it, so that its int8 file has this accuracy. A student that cannot
    be exported or quantised is no error: nothing is known of it then. Nothing is written to the trial's folder.
    """
    begun = time.monotonic()
    found, note = {}, ""
    try:
        found[INT8_ACCURACY] = int8_accuracy(load_subject(spec, paths))
    except AutoMLKDError as error:
        note = f"trial {spec.key} has no {INT8_ACCURACY}: {error}"
    return Int8Result({**found, "int8_seconds": time.monotonic() - begun}, note)


def load_subject(spec: TrialSpec, paths: TrialPaths) -> Subject:
    """The trained student on the processor, and the images that the trial has on its device."""
    return Subject(
        folder=paths.trial,
        spec=spec,
        student=load_trained_student(paths.trial, trusted=True),  # its code has run here already
        dataset=load_dataset(spec.data, paths.data, paths.device, paths.loader),
    )


def int8_accuracy(subject: Subject) -> float:
    """What the task follows of the quantised student on the validation images; `ExportError` if there is none."""
    shape = subject.input.shape
    with tempfile.TemporaryDirectory(prefix="automl_kd-") as name:
        folder = Path(name)
        program = graphs.trace_program(graphs.make_graph(subject.student, shape), shape)
        graphs.write_onnx(program, folder / ONNX, names=subject.input.names)
        quantise_subject(subject, folder)
        run = run_onnx(folder / INT8)
        labels, task = subject.dataset.validation.labels.cpu(), subject.dataset.task
        sums = task.count(torch.zeros(0, subject.dataset.shape.classes), labels[:0])
        for rows in torch.split(torch.arange(len(labels)), IMAGES_AT_ONCE):
            logits = run(subject.validation_images(rows))
            require_finite(INT8, logits)
            sums += task.count(logits.float(), labels[rows])
    return task.measure(sums, len(labels)).metric
