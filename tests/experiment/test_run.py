"""Whole experiments in one Ray: recorded once, continued, extended, sharing a teacher, and kept apart."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import torch

from automl_kd import experiment as stages
from automl_kd.config import ComparisonSection, MethodEntry
from automl_kd.errors import ResultError, TrialError
from automl_kd.experiment import ExperimentContext, Roots
from automl_kd.experiment.progress.events import StagePlan, TrialStatus
from automl_kd.spec import Recipe, TeacherSpec, TrialSpec, teacher_trial
from tests import tiny
from tests.tasks.test_images import bright_halves

pytestmark = pytest.mark.ray

ROW = ["trial_kind", "role", "key", "proposal", "status", "epochs_done", "val_accuracy", "test_accuracy", "started"]


class Notes:
    """A watcher that keeps what it is told; the line about the data apart from other notes."""

    def __init__(self) -> None:
        self.data: list[str] = []
        self.titles: list[str] = []
        self.notes: list[str] = []
        self.steps: list[int] = []
        self.plans: list[StagePlan] = []
        self.news: list[TrialStatus] = []

    def stage(self, title: str, total: int, unit: str = "steps") -> None:
        self.titles.append(title)
        self.steps.append(0)

    def step(self, done: int, note: str = "") -> None:
        self.steps[-1] = max(self.steps[-1], done)

    def note(self, text: str) -> None:
        (self.data if text.startswith("data ") else self.notes).append(text)

    def plan(self, plan: StagePlan) -> None:
        self.plans.append(plan)

    def trial(self, trial: TrialStatus) -> None:
        self.news.append(trial)


def carry_out(root: Path, **changes) -> tuple[ExperimentContext, Notes]:
    notes = Notes()
    context = stages.run_stages(tiny.experiment(**changes), Roots(results=root / "results", data=root), notes)
    return context, notes


def trained(context: ExperimentContext) -> dict[str, int]:
    """How many epochs workers pretended in each trial, over all sittings."""
    return {path.parent.name: tiny.lines(path) for path in context.folder.glob("trials/*/epochs")}


def trials(count: int):
    return dataclasses.replace(tiny.SEARCH, trials=count)


FAILING = {"fail": 7}
"""Of the fourteen points of the space this one never works."""


def lesson(context: ExperimentContext) -> TrialSpec:
    """The trial that trains the experiment's teacher."""
    return teacher_trial(context.experiment.teacher, context.experiment.data)


@pytest.fixture(scope="module")
def first(ray_session, tmp_path_factory) -> tuple[ExperimentContext, Notes]:
    """Four trials, and the truth table."""
    two = dataclasses.replace(tiny.experiment().finalists, count=2)
    return carry_out(tmp_path_factory.mktemp("first"), options=FAILING, finalists=two)


@dataclass
class Before:
    """What there was before the second sitting."""

    rows: pd.DataFrame
    epochs: dict[str, int]
    teacher: dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def second(first) -> tuple[ExperimentContext, Notes, Before]:
    """The same folder again, after the teacher's weights were deleted, with one trial more than the space has points.

    The best point is the baseline now, so that the found student is the default one.
    """
    lab, _ = first
    file = lab.teachers / lesson(lab).key / "student.pt"
    before = Before(lab.table.read(), trained(lab), torch.load(file, weights_only=True))
    file.unlink()
    largest = dataclasses.replace(lab.experiment.finalists, baseline={"width": 15})
    return *carry_out(lab.roots.data, options=FAILING, search=trials(15), finalists=largest), before


def besides_the_teacher(notes: Notes) -> list[str]:
    """The notes without what the teacher costs, and that it is near chance, which so short a training may leave."""
    return [
        note for note in notes.notes if not note.startswith(("Warning: the teacher", "teacher tests.tiny:teacher "))
    ]


def test_an_experiment_leaves_a_row_and_a_curve_for_every_trial(first):
    lab, notes = first
    rows, curves = lab.table.read(), lab.table.curves()
    assert set(rows["status"]) == {"complete"}
    assert list(rows["trial_kind"].value_counts()[["teacher", "search", "choice", "final"]]) == [1, 4, 2, 4]
    assert sorted(rows.loc[rows["trial_kind"] == "search", "proposal"]) == [0, 1, 2, 3]
    assert sorted(rows.loc[rows["trial_kind"] == "final", "role"]) == sorted(tiny.ROLES)
    counts = curves.groupby(["trial_kind", "key"], observed=True)["epoch"].apply(list)
    for row in rows.to_dict("records"):
        assert counts[row["trial_kind"], row["key"]] == list(range(1, row["epochs_done"] + 1))
    assert notes.titles == [
        "teacher tests.tiny:teacher",
        "search, 4 trials by random",
        "choice among 2 finalists",
        "finalists and baselines",
    ]
    assert notes.data == [lab.account["line"]]
    assert besides_the_teacher(notes) == []
    assert notes.steps[:2] == [2, 4]


def test_the_found_student_is_the_best_of_the_search(first):
    rows = first[0].table.read()
    best = rows[rows["trial_kind"] == "search"].sort_values("val_accuracy").iloc[-1]
    choice = rows[rows["trial_kind"] == "choice"]
    assert list(choice["seed"]) == [1_000_000, 1_000_000]
    assert best["architecture_id"] == choice.sort_values("val_accuracy").iloc[-1]["architecture_id"]
    final = rows[rows["role"] == "found-method"].iloc[0]
    assert final["architecture_id"] == best["architecture_id"]
    assert rows[rows["trial_kind"] != "final"]["key"].is_unique
    assert not set(rows[rows["trial_kind"] == "final"]["key"]) & set(rows[rows["trial_kind"] != "final"]["key"])


def test_results_are_folded_and_nothing_of_tune_is_left(first):
    lab, _ = first
    assert len([path for path in lab.folder.rglob("*.parquet") if path.parent.name.startswith("trial_kind=")]) == 0
    assert not list(lab.folder.glob("tune-*"))
    assert not list(lab.folder.rglob("_*"))


def test_more_trials_continue_the_same_folder_and_repeat_none(second):
    lab, _, before = second
    rows = lab.table.read()
    search = rows[rows["trial_kind"] == "search"]
    assert sorted(search["proposal"]) == list(range(14))
    assert not rows.duplicated(["trial_kind", "role", "key"]).any()
    earlier = before.rows[before.rows["trial_kind"] == "search"]
    kept = search[search["proposal"] < 4]
    assert kept[ROW].to_dict("records") == earlier[ROW].to_dict("records")
    finals = set(rows.loc[rows["trial_kind"] == "final", "key"]) | set(
        before.rows.loc[before.rows["trial_kind"] == "final", "key"]
    )
    only_searched = set(earlier["key"]) - finals
    assert len(only_searched) >= 2
    now = trained(lab)
    assert {key: now[key] for key in only_searched} == {key: before.epochs[key] for key in only_searched}


def test_a_failed_trial_is_noted_and_the_experiment_goes_on_until_the_space_is_used_up(second):
    lab, notes, _ = second
    rows = lab.table.read()
    failed = rows[rows["status"] == "failed"]
    assert list(failed["student"]) == ["width 7"]
    assert list(failed["error"]) == ["RuntimeError: this width never works"]
    assert besides_the_teacher(notes) == [
        f"trial {failed['proposal'].iloc[0]} failed: RuntimeError: this width never works",
        "no new architecture within the budget was found after 14 proposals",
    ]


def test_a_found_default_stands_for_two_roles_with_one_training(second):
    lab, _, _ = second
    rows = lab.table.read()
    final = rows[(rows["trial_kind"] == "final") & (rows["student"] == "width 15")].set_index("role")
    assert sorted(final.index) == sorted(tiny.ROLES)
    assert final.loc["default-scratch", "key"] == final.loc["found-scratch", "key"]
    assert final.loc["default-scratch", "test_accuracy"] == final.loc["found-scratch", "test_accuracy"]
    assert len(set(final["key"])) == 3


def test_deleted_weights_of_a_teacher_are_made_again_bit_for_bit(second):
    lab, notes, before = second
    again = torch.load(lab.teachers / lesson(lab).key / "student.pt", weights_only=True)
    assert notes.titles[0] == "teacher tests.tiny:teacher"
    assert all(torch.equal(again[key], before.teacher[key]) for key in before.teacher)
    rows = lab.table.read()
    assert list(rows.loc[rows["trial_kind"] == "teacher", "status"]) == ["complete"]


def test_a_teacher_is_trained_once_for_all_experiments_under_one_root(second):
    lab = second[0]
    folder = lab.teachers / lesson(lab).key
    trained_once = [path for path in folder.iterdir() if path.name not in {"lock", "bank"}]
    stamps = {path.name: path.stat().st_mtime_ns for path in trained_once}
    # a space of one point: nothing is searched, teaching alone is judged
    other, notes = carry_out(lab.roots.data, name="other", space="model:tests.tiny:teacher", method="kd")
    assert {path.name: path.stat().st_mtime_ns for path in trained_once} == stamps
    assert [path.name for path in other.teachers.iterdir()] == [folder.name]
    assert notes.titles == ["teacher tests.tiny:teacher", "student and baselines"]
    ours, theirs = (one.table.read().set_index("trial_kind").loc["teacher"] for one in (lab, other))
    for name in ("key", "val_accuracy", "test_accuracy", "seconds"):
        assert ours[name] == theirs[name]


def test_another_experiment_in_the_folder_is_refused_by_what_differs(first):
    lab, _ = first
    before = {path: path.stat().st_mtime_ns for path in lab.folder.rglob("*") if path.name != "lock"}
    with pytest.raises(ResultError, match=r"holds another experiment: its recipe\.lr is 0\.05, here it is 0\.1; give "):
        carry_out(lab.roots.data, options=FAILING, recipe=dataclasses.replace(tiny.RECIPE, lr=0.1))
    assert {path: path.stat().st_mtime_ns for path in lab.folder.rglob("*") if path.name != "lock"} == before


def test_a_folder_that_another_process_writes_to_is_refused(ray_session, tmp_path):
    folder = tmp_path / "results" / "tiny"
    code = "import sys, time; from pathlib import Path; from automl_kd.results.store.folder import lock\n"
    code += "with lock(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(
                ResultError, match=f"^process {holder.pid} is writing to {folder}; wait for it, or give"
            ):
                carry_out(tmp_path)
        finally:
            holder.kill()
    assert [path.name for path in folder.iterdir()] == ["lock"]


def test_a_teacher_that_cannot_be_trained_ends_the_experiment_with_its_reason(ray_session, tmp_path):
    hopeless = TeacherSpec(model="tests.tiny:teacher", recipe=Recipe(epochs=1, batch_size=16, lr=1e30))
    with pytest.raises(
        TrialError, match=r"^the teacher tests.tiny:teacher could not be trained: DivergedError: the train"
    ):
        carry_out(tmp_path, teacher=hopeless)


@pytest.mark.parametrize(
    ("task", "metric"), [("regression", "negative_mse"), pytest.param("multi-label", "", marks=pytest.mark.long)]
)
def test_experiments_of_other_tasks_come_to_their_end(ray_session, tmp_path, task, metric):
    data = dataclasses.replace(bright_halves(tmp_path / "set.npz", task), metric=metric)
    recipe = Recipe(epochs=2, batch_size=16, lr=0.01)
    teacher = TeacherSpec(model="tests.tiny:teacher", recipe=recipe)
    entries = (
        MethodEntry(name="scratch", method="scratch"),
        MethodEntry(name="kd", method="kd", grid={"weight": (0.3, 0.9)}),
    )
    section = ComparisonSection(reference="scratch", methods=entries, tuning=0.5)
    context, notes = carry_out(tmp_path, method="kd", data=data, teacher=teacher, recipe=recipe, comparison=section)
    rows = context.table.read()
    assert set(rows["status"]) == {"complete"}
    assert set(rows["trial_kind"]) == {"teacher", "choice", "final"}
    assert set(rows["metric"]) == {metric or "mean_average_precision"}
    assert not any("could be trained" in one for one in notes.notes)
    # Its teacher's weights as a file, which nobody checks by classes.
    weights = context.trial_paths(context.teacher_training, "cpu").trial / "student.pt"
    given = TeacherSpec(model="tests.tiny:teacher", checkpoint=str(weights))
    search = dataclasses.replace(tiny.SEARCH, trials=3, scheduler="none")
    found, _ = carry_out(tmp_path / "search", method="kd", data=data, teacher=given, recipe=recipe, search=search)
    finals = found.table.read()
    assert set(finals[finals["trial_kind"] == "final"]["status"]) == {"complete"}
