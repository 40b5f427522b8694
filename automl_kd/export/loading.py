"""Reads a student back from the folder of its export."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from automl_kd import files, storage
from automl_kd.errors import CheckpointError, FileError
from automl_kd.export.folder import LABELS, OBJECTS_FOLDER, PREPROCESSING, WEIGHTS
from automl_kd.export.student_input import StudentInput
from automl_kd.export.text_input import TextInput
from automl_kd.methods.model_card import build_described
from automl_kd.models.weights.checkpoint import load_weights


def is_exported(folder: Path) -> bool:
    """Whether `folder` is one of an export."""
    return (folder / PREPROCESSING).exists() and (folder / WEIGHTS).exists()


def load_exported(folder: Path, *, trusted: bool = False) -> nn.Module:
    """The student in `folder`, on the processor and in evaluation mode, with two more attributes.

    `preprocess`: a `StudentInput`, which turns a PIL image, or a batch of uint8, into what the student takes, or a
    `TextInput`, which does so with texts. `labels`:
    the names of its classes, in the order of its logits. `trusted`: as of `load_trained_student`.
    `CheckpointError` if files are missing or damaged.
    """
    storage.pull(folder, weights=True)
    student = build_described(folder, trusted=trusted, objects=folder / OBJECTS_FOLDER)
    load_weights(student, folder / WEIGHTS)
    try:
        record = files.read_json(folder / PREPROCESSING)
        of_texts = "max_length" in record
        preprocess = TextInput.from_record(record, folder) if of_texts else StudentInput.from_record(record)
        labels = tuple(map(str, files.read_json(folder / LABELS)))
    except (FileError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"the export in {folder} is damaged ({error}); export the student again") from error
    # Plain attributes: neither is a part of the network's state.
    object.__setattr__(student, "preprocess", preprocess)
    object.__setattr__(student, "labels", labels)
    return student.eval()
