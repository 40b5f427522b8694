"""The study beside the rows: as many trials with the same values, also after a search that was broken off."""

from __future__ import annotations

import dataclasses

import optuna
import pytest

from automl_kd.config import to_record
from automl_kd.experiment import ExperimentContext, Roots
from automl_kd.experiment.optuna_journal import STUDY
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.progress.events import Silent
from automl_kd.experiment.stages.search import Searching
from automl_kd.results.store.folder import open_folder
from automl_kd.samplers.study import StudyFile, storage
from tests import tiny
from tests.experiment.session import Broken, carry_through

STATES = {"complete": "COMPLETE", "stopped": "PRUNED", "failed": "FAIL"}


class Notes(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def open_search(root, watcher: Silent | None = None, **changes) -> ExperimentContext:
    search = dataclasses.replace(tiny.SEARCH, trials=14, **changes)
    experiment = tiny.experiment(options={"fail": 7}, search=search)
    context = prepare_experiment(experiment, Roots(results=root / "results", data=root), watcher or Silent())
    open_folder(context.folder, to_record(context.experiment))
    return context


def assert_mirrored(context: ExperimentContext, trials: int) -> None:
    study = optuna.load_study(study_name="tiny", storage=storage(context.folder / STUDY))
    rows = context.table.read().set_index("key")
    assert len(study.trials) == len(rows) == trials
    names = context.experiment.search.objectives
    for trial in study.trials:
        row = rows.loc[trial.user_attrs["key"]]
        assert trial.state.name == STATES[row["status"]]
        assert trial.user_attrs["proposal"] == row["proposal"]
        assert f"width {trial.params['width']}" == row["student"]
        if row["status"] == "complete":
            assert trial.values == [row[name.removeprefix("-")] for name in names]


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_the_study_holds_what_the_rows_hold(tmp_path, sampler):
    context = open_search(tmp_path, sampler=sampler)
    for trials in (4, 9):
        with pytest.raises(Broken):
            carry_through(Searching(context), break_at=trials)
        assert_mirrored(context, trials)
    carry_through(Searching(context))
    assert_mirrored(context, 14)
    before = (context.folder / STUDY).read_bytes()
    carry_through(Searching(context))  # the trial that failed is tried again, and fails again
    assert_mirrored(context, 14)
    assert (context.folder / STUDY).read_bytes() == before


def test_with_several_objectives_and_without_the_file_too(tmp_path):
    context = open_search(tmp_path, sampler="nsga2", objectives=("val_accuracy", "-params"))
    with pytest.raises(Broken):
        carry_through(Searching(context), break_at=5)
    (context.folder / STUDY).unlink()
    carry_through(Searching(context))
    assert_mirrored(context, 14)


def test_a_study_that_cannot_be_written_is_noted_once_and_ends_nothing(tmp_path, monkeypatch):
    def full(self, key, tried):
        raise OSError(28, "No space left on device")

    notes = Notes()
    context = open_search(tmp_path, notes)
    with monkeypatch.context() as patch:
        patch.setattr(StudyFile, "add", full)
        carry_through(Searching(context))
    assert len(context.table.read()) == 14
    (note,) = [note for note in notes.notes if "study.journal" in note]
    assert note == (
        "study.journal could not be written (OSError: [Errno 28] No space left on device); the next session makes it "
        "from the rows"
    )
    carry_through(Searching(context))
    assert_mirrored(context, 14)
