"""Accuracy in eight bits in a search: a column, an objective, replayed, absent where it failed."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from automl_kd.cluster.tune_runner import run_trials
from automl_kd.cluster.tune_searcher import Assignment
from automl_kd.config import ExportSection, Resources, SearchSection, to_record
from automl_kd.errors import ExportError
from automl_kd.experiment.context import ExperimentContext, Roots
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.stages.search import Searching
from automl_kd.experiment.stages.trials import Entrant, ListedTrials
from automl_kd.export import measure_int8, trained
from automl_kd.results.report.leaderboard import leaderboard_markdown, rank_results
from automl_kd.results.store.folder import open_folder
from automl_kd.spec import Outcome
from tests import tiny
from tests.experiment.session import carry_through
from tests.experiment.test_run import Notes

BOTH = ("val_accuracy", "int8_val_accuracy")
TRIALS = 4


def opened(root: Path, *, int8: bool = True, **search: Any) -> tuple[ExperimentContext, Notes]:
    notes = Notes()
    section = SearchSection(trials=TRIALS, scheduler="none", **{"sampler": "random", **search})
    experiment = tiny.experiment(method="scratch", search=section, export=ExportSection(int8=int8))
    context = prepare_experiment(experiment, Roots(results=root / "results", data=root), notes)
    open_folder(context.folder, to_record(context.experiment))
    notes.stage("search", TRIALS)
    return context, notes


def searched(context: ExperimentContext) -> pd.DataFrame:
    carry_through(Searching(context))
    return context.table.read().sort_values("proposal", ignore_index=True)


@pytest.fixture
def quick(monkeypatch) -> list[int]:
    """In place of the quantiser: how accurate a student of this width is. Width 13 and above cannot be quantised."""
    widths: list[int] = []

    def accuracy(subject: Any) -> float:
        width = int(subject.spec.architecture.as_dict()["width"])
        widths.append(width)
        if width > 12:
            raise ExportError("onnxruntime cannot quantise the student (too wide); leave int8 out")
        return width / 20

    monkeypatch.setattr(trained, "int8_accuracy", accuracy)
    return widths


@pytest.mark.slow
def test_every_trial_of_a_search_has_it(tmp_path):
    context, notes = opened(tmp_path)
    rows = searched(context)
    assert rows["int8_val_accuracy"].between(0, 1).all()
    assert (rows["int8_seconds"] > 0).all()
    assert (rows["seconds"] < rows["int8_seconds"]).all()  # tiny trainings: the quantiser is not among them
    assert notes.notes == []


def test_it_is_an_objective_and_what_has_none_teaches_nothing(tmp_path, quick):
    context, notes = opened(tmp_path, sampler="nsga2", options={"population": 2}, objectives=BOTH)
    rows = searched(context)
    widths = [int(json.loads(one)["width"]) for one in rows["values_json"]]
    assert quick == widths
    assert list(rows["status"]) == ["complete"] * TRIALS
    expected = [None if width > 12 else width / 20 for width in widths]
    assert list(rows["int8_val_accuracy"].astype(object).where(rows["int8_val_accuracy"].notna(), None)) == expected
    wide = [key for key, width in zip(rows["key"], widths, strict=True) if width > 12]
    assert len(wide) in range(1, TRIALS)
    assert [note.split(":")[0] for note in notes.notes] == [f"trial {key} has no int8_val_accuracy" for key in wide]
    again, _ = opened(tmp_path, sampler="nsga2", options={"population": 2}, objectives=BOTH)
    pd.testing.assert_frame_equal(searched(again), rows)
    assert quick == widths  # replayed with what they had reported


def test_it_can_be_turned_on_later_for_the_trials_to_come(tmp_path, quick):
    context, _ = opened(tmp_path, int8=False)
    carry_through(Searching(context), break_at=0)
    assert context.table.read()["int8_val_accuracy"].isna().all()
    later, _ = opened(tmp_path)
    later = dataclasses.replace(
        later, experiment=dataclasses.replace(later.experiment, search=SearchSection(trials=6, sampler="random"))
    )
    rows = searched(later)
    assert list(rows["int8_seconds"].notna()) == [False] * TRIALS + [True] * 2


def test_finals_have_it_and_the_teacher_does_not(tmp_path, quick):
    context, _ = opened(tmp_path)
    spec = tiny.spec(method="scratch")
    finals = ListedTrials(context, [Entrant("found-method", spec)], "final", "finals")
    carry_through(finals)
    (row,) = context.table.read().to_dict("records")
    assert row["int8_val_accuracy"] == 4 / 20
    assert context.trial_paths(spec, "cpu").int8
    assert not context.trial_paths(context.teacher_training, "cpu").int8
    page = leaderboard_markdown(rank_results(context.table.read()))
    assert "| validation in int8, % |" in page
    assert "| 20.00 |" in page


def test_missing_packages_are_refused_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ExportError, match=r"needs the package onnxruntime; .*set export.int8 = false"):
        opened(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.long)])
def test_under_ray_the_worker_that_trained_measures_it(ray_session, tmp_path, workers):
    trained_one = tiny.spec(method="scratch")
    pretending = tiny.spec(width=5)
    specs, outcomes, curves = (trained_one, pretending), {}, {}

    def ask(index: int) -> Assignment | None:
        if index == len(specs):
            return None
        paths = dataclasses.replace(tiny.place(tmp_path, specs[index]), int8=True)
        return Assignment(spec=specs[index], paths=paths)

    def on_outcome(spec, outcome: Outcome, curve) -> None:
        outcomes[spec.key], curves[spec.key] = outcome, curve

    run_trials(
        ask,
        on_epoch=lambda *_: None,
        on_outcome=on_outcome,
        resources=Resources(device="cpu", workers=workers, max_concurrent=1),
        search=None,
        epochs=3,
        scratch=tmp_path,
    )
    found = outcomes[trained_one.key]
    again = measure_int8(trained_one, tiny.place(tmp_path, trained_one))
    assert (found.status, found.note) == ("complete", "")
    assert found.metrics["int8_val_accuracy"] == again.metrics["int8_val_accuracy"]
    assert found.metrics["int8_seconds"] > 0
    assert "int8_val_accuracy" not in curves[trained_one.key][2]
    without = outcomes[pretending.key]  # it leaves no weights
    assert without.status == "complete"
    assert "int8_val_accuracy" not in without.metrics
    assert "holds no finished student" in without.note
