"""Experiments with a teacher bank: what it saves is on record, and nothing else of the results changes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from automl_kd import experiment as stages
from automl_kd.config import SearchSection
from automl_kd.errors import ConfigError
from automl_kd.experiment import ExperimentContext, Roots
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.progress.events import Silent
from automl_kd.results.report.shared_work import saved_passes
from automl_kd.spec import Outcome, TeacherCacheOptions
from tests import tiny

EPOCHS, STEPS = 3, 6


class Notes(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def opened(root: Path, **changes) -> tuple[ExperimentContext, Notes]:
    notes = Notes()
    plain = tiny.experiment(**{"method": "kd", **changes})
    return prepare_experiment(plain, Roots(results=root / "results", data=root), notes), notes


def carried_out(root: Path, name: str, bank: TeacherCacheOptions) -> ExperimentContext:
    roots = Roots(results=root / "results", data=root)
    return stages.run_stages(tiny.experiment(name=name, method="kd", teacher_cache=bank), roots, Silent())


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"teacher_cache": TeacherCacheOptions(keep="logits")}, "teacher_cache.keep = 'logits'"),
        ({"teacher_cache": TeacherCacheOptions(keep="features")}, "teacher_cache.keep = 'features'"),
        ({"teacher": dataclasses.replace(tiny.TEACHER, outputs="top2")}, "teacher.outputs = 'top2'"),
    ],
)
@pytest.mark.parametrize("where", [{"method": "prokt"}, {"hyperparameters": {"method": ("kd", "prokt")}}])
def test_what_is_asked_of_a_fixed_teacher_is_refused_where_it_moves(tmp_path, changes, option, where):
    with pytest.raises(ConfigError, match=f"^{option} applies to a fixed teacher, and method 'prokt' trains its"):
        opened(tmp_path, **where, **changes)
    assert not list(tmp_path.iterdir())


def test_nobody_has_to_ask_for_it(tmp_path):
    assert opened(tmp_path, method="prokt")[0].banking.keep == "logits"
    assert opened(tmp_path, teacher_cache=TeacherCacheOptions(keep="off"))[0].banking.keep == "off"
    timed = SearchSection(trials=2, objectives=("val_accuracy", "-seconds"), sampler="nsga2", scheduler="none")
    assert opened(tmp_path, search=timed)[0].banking.keep == "off"
    assert (
        opened(tmp_path, search=timed, teacher_cache=TeacherCacheOptions(keep="features"))[0].banking.keep == "features"
    )


def test_a_full_bank_is_said_once(tmp_path):
    context, notes = opened(tmp_path)
    for unkept in (0.0, 3.0, 5.0):
        context.note_outcome(Outcome(status="complete", metrics={"teacher_passes_unkept": unkept}, epoch=1))
    context.note_outcome(Outcome(status="failed", metrics={}, epoch=0))
    assert len(notes.notes) == 1
    assert notes.notes[0].startswith("the teacher cache is full (teacher_cache.limit_gb = 10, or the disk): ")


@pytest.mark.ray
@pytest.mark.long
def test_a_search_pays_once_for_its_teacher_and_comes_to_the_same_results(ray_session, tmp_path):
    with_bank, without = (
        carried_out(tmp_path, "with", TeacherCacheOptions()),
        carried_out(tmp_path, "without", TeacherCacheOptions(keep="off")),
    )
    rows, others = (context.table.read().set_index(["trial_kind", "role", "key"]) for context in (with_bank, without))
    assert set(rows["status"]) == {"complete"}
    same = ["epochs", "train_loss", "val_accuracy", "test_accuracy", "test_accuracy_best", "train_macs"]
    assert rows[same].sort_index().equals(others.loc[rows.index, same].sort_index())
    assert others["teacher_passes"].isna().all()

    taught = rows[rows["method"] == "kd"]
    passes = taught["teacher_passes"] + taught["teacher_passes_saved"]
    assert (passes == taught["epochs"] * STEPS).all()
    # each of the two workers computes a batch once at most, and the trials after them find all of it
    search = taught.xs("search")["teacher_passes"]
    assert EPOCHS * STEPS <= search.sum() <= 2 * EPOCHS * STEPS
    assert rows.loc[rows["method"] == "scratch", "teacher_passes"].isna().all()

    words = saved_passes(with_bank.table.read())
    assert words.startswith(f"Teacher passes on training batches: {taught['teacher_passes'].sum():.0f} computed, ")
    assert saved_passes(without.table.read()) == ""
    assert len(list(with_bank.teachers.glob("*/bank/*/epoch-0001.bin"))) == 2  # the search's seed, and the finals'
