"""A trained student's accuracy in eight bits is that of the file that an export writes; what cannot be is told."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from automl_kd.cluster.last_epoch import complete_report
from automl_kd.cluster.tune_searcher import Assignment
from automl_kd.errors import ExportError
from automl_kd.export import ExportOptions, export_student, measure_int8, require_export_packages, trained
from automl_kd.methods import run_trial
from automl_kd.space import InputShape
from automl_kd.spec import REMARK_FILE, Recipe, TrialPaths
from automl_kd.tasks import find_task
from tests import tiny


def untraceable(shape: InputShape) -> nn.Module:
    """Whose forward depends on values, which no exporter follows."""

    class Choosing(tiny.Net):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits = super().forward(images)
            return logits if float(logits.detach().sum()) > 0 else 2 * logits

    return Choosing(shape, 4)


@pytest.fixture
def place(trial) -> TrialPaths:
    root = trial.parent.parent
    return TrialPaths(trial=trial, teachers=root / "teachers", data=root / "data", int8=True)


def assigned(place: TrialPaths, **changes) -> Assignment:
    return Assignment(spec=tiny.spec(method="scratch"), paths=dataclasses.replace(place, **changes))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow
def test_it_is_that_of_the_exported_file(place, subject, tmp_path):
    before = contents(place.trial)
    found = measure_int8(tiny.spec(method="scratch"), place)
    assert contents(place.trial) == before
    assert found.note == ""
    assert set(found.metrics) == {"int8_val_accuracy", "int8_seconds"}
    assert found.metrics["int8_seconds"] > 0
    out = export_student(subject, tmp_path / "out", ExportOptions(int8=True, pt2=False, max_int8_loss=100.0))
    written = json.loads((out / "parity.json").read_text())["files"]["student.int8.onnx"]
    assert [one["accuracy"] for one in written] == [found.metrics["int8_val_accuracy"]] * 2


def test_only_the_last_epoch_of_a_trial_that_is_asked_waits_for_it(place, monkeypatch):
    monkeypatch.setattr(trained, "int8_accuracy", lambda _subject: 0.25)
    metrics = {"val_accuracy": 0.5, "seconds": 2.0}
    assert complete_report(assigned(place, int8=False), metrics, 3) == {**metrics, "epoch": 3}
    assert complete_report(assigned(place), metrics, 2) == {**metrics, "epoch": 2}
    (place.trial / REMARK_FILE).write_text("it found nothing", encoding="utf-8")
    last = complete_report(assigned(place), metrics, 3)
    assert last.pop("remark") == "it found nothing"
    assert last.pop("int8_seconds") >= 0
    assert last == {**metrics, "epoch": 3, "int8_val_accuracy": 0.25, "note": ""}


def test_a_student_that_cannot_be_quantised_is_noted(tmp_path):
    spec = tiny.spec(method="scratch", space="model:tests.export.test_trained:untraceable", width=0)
    spec = dataclasses.replace(spec, architecture=dataclasses.replace(spec.architecture, values=()))
    place = dataclasses.replace(tiny.place(tmp_path, spec), int8=True)
    run_trial(spec, tiny.Recorder(), place)
    found = measure_int8(spec, place)
    assert set(found.metrics) == {"int8_seconds"}
    assert found.note.startswith(f"trial {spec.key} has no int8_val_accuracy: ")
    assert "cannot be traced by torch.export" in found.note
    assert "\n" not in found.note


def test_what_is_no_number_has_no_accuracy(place, monkeypatch):
    monkeypatch.setattr(trained, "run_onnx", lambda _path: lambda images: torch.full((len(images), 3), np.nan))
    monkeypatch.setattr(trained, "quantise_subject", lambda *_: None)
    found = measure_int8(tiny.spec(method="scratch"), place)
    assert "student.int8.onnx returns outputs that are no numbers" in found.note


def test_without_weights_there_is_none_either(tmp_path):
    spec = tiny.spec(recipe=Recipe(epochs=1))  # which pretends
    found = measure_int8(spec, tiny.place(tmp_path, spec))
    assert "holds no finished student" in found.note


def test_missing_packages_are_told_of_with_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ExportError, match=r"package onnxscript; install it by pip install .* or set export.int8 = fa"):
        require_export_packages("set export.int8 = false")


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_it_is_what_the_task_follows(subject, monkeypatch, metric):
    labels = torch.zeros(22, dtype=torch.int64)
    labels[:2] = 1
    validation = dataclasses.replace(subject.dataset.validation, labels=labels)
    dataset = dataclasses.replace(subject.dataset, validation=validation, task=find_task("classification", metric))
    always_first = torch.tensor([1.0, 0.0, 0.0])
    monkeypatch.setattr(trained, "run_onnx", lambda _path: lambda images: always_first.expand(len(images), 3))
    monkeypatch.setattr(trained, "quantise_subject", lambda *_: None)
    # Right on 20 of 22; F1 is 2 * 20 / (22 + 20) of the first class, 0 of the second, and the third has no image.
    expected = 20 / 22 if metric == "accuracy" else 40 / 42 / 2
    assert trained.int8_accuracy(dataclasses.replace(subject, dataset=dataset)) == pytest.approx(expected)
