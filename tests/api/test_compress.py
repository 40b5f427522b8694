"""A compression from Python, by objects."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

import automl_kd
from automl_kd import experiment as stages
from automl_kd.api import compressing
from automl_kd.api.compressing import export_chosen
from automl_kd.decision import JudgedExperiment
from automl_kd.errors import DataError, ExportError, RecordError
from automl_kd.experiment.progress.events import Silent
from automl_kd.export import ExportOptions
from tests.api import objects
from tests.experiment.test_networks import Notes

akd: Any = automl_kd
SETTINGS = {
    "data.validation": 0.2,
    "recipe.epochs": 1,
    "search.trials": 3,
    "trial.device": "cpu",
    "recipe.batch_size": 16,
}


@pytest.mark.ray
def test_a_compression_by_objects(ray_session, tmp_path, capsys):
    teacher = akd.Teacher(objects.teacher(), preprocessing=akd.Preprocessing(mean=(0.4,), std=(0.3,)))
    given = {
        "space": objects.SPACE,
        "hours": 0.3,
        "budget": akd.Budget(params=500_000),
        "epochs": 2,
        "seeds": 2,
        "settings": SETTINGS,
        "accept_teacher": True,
    }
    found = akd.compress(teacher, objects.arrays(), out=tmp_path / "results" / "mine", **given)
    assert "search: at most 3 trials" in capsys.readouterr().out
    assert found.verdict.numbers["search"].n == 2
    assert set(found.spent) == {"preflight", "search", "finals", "export", "page"}
    student = akd.load_student(found.student_folder, trusted=True)
    with torch.inference_mode():
        assert student(torch.zeros(3, 1, 8, 8)).shape[0] == 3
    again = akd.compress(teacher, objects.arrays(), out=tmp_path / "results" / "mine", **given)
    assert len(again.rows) == len(found.rows)


def test_what_is_asked_for_later_is_exported_later(tmp_path):
    student, made = tmp_path / "student", []

    def export_as(out, options, *_args, **_more):
        made.append(options.int8)
        out.mkdir()
        (out / "student.int8.onnx" if options.int8 else out / "student.onnx").write_bytes(b"")

    result: Any = SimpleNamespace(best=SimpleNamespace(export_as=export_as))
    advice: Any = SimpleNamespace(chosen=None)
    for int8 in (False, False, True, True, False):
        export_chosen(student, result, advice, ExportOptions(int8=int8), Silent())
    assert made == [False, True]  # what is there with all that is asked for stays
    assert [file.name for file in student.iterdir()] == ["student.int8.onnx"]


def test_eight_bits_that_lose_too_much_cost_no_student(tmp_path):
    def export_as(out, options, *_args, **_more):
        if options.int8:
            raise ExportError("student.int8.onnx loses 3.10 points where 2 are allowed")
        out.mkdir()
        (out / "student.onnx").write_bytes(b"")

    result: Any = SimpleNamespace(best=SimpleNamespace(export_as=export_as))
    advice: Any = SimpleNamespace(chosen=None)
    notes = Notes()
    export_chosen(tmp_path / "student", result, advice, ExportOptions(int8=True), notes)
    assert [file.name for file in (tmp_path / "student").iterdir()] == ["student.onnx"]
    assert "is written without student.int8.onnx: student.int8.onnx loses 3.10 points" in notes.said[-1]


@pytest.mark.parametrize("error", [ExportError("it cannot be traced"), DataError("the images have changed")])
def test_the_page_is_written_though_the_student_cannot_be(tmp_path, monkeypatch, error):
    def fail(*_: Any) -> None:
        raise error

    for name in ("write_repeating_file", "recommend_candidate", "measure_finals"):
        monkeypatch.setattr(compressing, name, lambda *_: None)
    monkeypatch.setattr(stages, "run_stages", lambda *_, **_more: None)
    monkeypatch.setattr(JudgedExperiment, "read", lambda *_: None)
    monkeypatch.setattr(compressing, "export_chosen", fail)
    pages: list[Any] = []
    monkeypatch.setattr(compressing, "write_decision_page", lambda *_, **options: pages.append(options))
    keeper: Any = SimpleNamespace(begin=lambda _: None, note=lambda _: None)
    planned: Any = SimpleNamespace(
        keeper=keeper,
        folder=tmp_path,
        roots=SimpleNamespace(data=tmp_path),
        experiment=None,
        kept=SimpleNamespace(finals=None),
    )
    with pytest.raises(type(error)):
        compressing.carry_out_compression(planned, ExportOptions())
    assert [page["export_folder"] for page in pages] == [None]


def test_a_limit_that_is_none_is_refused(tmp_path):
    with pytest.raises(RecordError, match="hours must lie above 0"):
        akd.compress("resnet20", "digits", out=tmp_path / "mine", hours=-1.0)
