"""Trials whose students begin with weights: their teacher's or a file's, here and after a kill."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from automl_kd.errors import StopTrial
from automl_kd.methods import run_trial
from automl_kd.methods.model_card import load_trained_student
from automl_kd.models.weights.checkpoint import digest_file, save_weights
from automl_kd.space import Architecture, InputShape
from automl_kd.spec import (
    BEGAN_FRESH,
    FROM_TEACHER,
    REMARK_FILE,
    Parent,
    Preprocessing,
    Recipe,
    TeacherSpec,
    TrialPaths,
    TrialSpec,
)
from automl_kd.storage.content_hash import pin
from automl_kd.training import loop
from automl_kd.training.trial import prepare_trial
from tests import tiny


def weights_of(place) -> dict[str, Tensor]:
    found: dict[str, Tensor] = torch.load(place.trial / "student.pt", weights_only=True)
    return found


def test_a_student_begins_with_its_teachers_largest_channels(tmp_path):
    spec = tiny.taught(tmp_path, "kd", init=FROM_TEACHER)
    same = dataclasses.replace(spec, space="model:tests.tiny:teacher", architecture=Architecture(()))
    student = prepare_trial(same, tiny.place(tmp_path, same)).student
    teacher = torch.load(tmp_path / "teachers" / tiny.lesson().key / "student.pt", weights_only=True)
    assert all(value.equal(teacher[name]) for name, value in student.state_dict().items())
    narrow = dataclasses.replace(spec, architecture=tiny.spec(width=5).architecture)
    small = prepare_trial(narrow, tiny.place(tmp_path, narrow)).student
    largest = teacher["stem.weight"].abs().flatten(1).sum(1).topk(5).indices.sort().values
    assert small.get_parameter("stem.weight").equal(teacher["stem.weight"][largest])
    assert small.get_parameter("classifier.weight").equal(teacher["classifier.weight"][:, largest])


def test_where_it_begins_is_part_of_the_key_and_a_fresh_trial_keeps_its_own(tmp_path):
    fresh = tiny.taught(tmp_path, "kd")
    warm = dataclasses.replace(fresh, init=FROM_TEACHER)
    assert warm.key != fresh.key
    assert "init" not in fresh.to_json()
    assert TrialSpec.from_json(warm.to_json()) == warm
    for folder in ("here", "there"):
        save_weights(tiny.Net(tiny.SHAPE, 4), tmp_path / folder / "weights.pt")
        (tmp_path / folder / "weights.pt").write_bytes((tmp_path / "here" / "weights.pt").read_bytes())
    here, there = (
        dataclasses.replace(fresh, init=pin(str(tmp_path / one / "weights.pt"))) for one in ("here", "there")
    )
    assert here.key == there.key not in {warm.key, fresh.key}


def test_a_broken_warm_trial_continues_to_the_same_student(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    spec = tiny.taught(tmp_path, "kd", init=FROM_TEACHER)
    whole, broken = tiny.place(tmp_path, spec), tiny.place(tmp_path / "broken", spec)
    broken = dataclasses.replace(broken, teachers=whole.teachers)
    run_trial(spec, tiny.Recorder(), whole)
    with pytest.raises(StopTrial):
        run_trial(spec, tiny.Recorder(stop=2), broken)
    run_trial(spec, tiny.Recorder(), broken)
    assert all(value.equal(weights_of(broken)[name]) for name, value in weights_of(whole).items())


def begun_of(root: Path, begins_with: str, kernel: int) -> tuple[TrialSpec, TrialPaths]:
    """A trial that is to begin with the teacher's or with its parent's weights, or that begins fresh."""
    spec = tiny.taught(root, "kd", space="tests.tiny:KERNELS", architecture=Architecture.of({"kernel": kernel}))
    paths = tiny.place(root, spec)
    if begins_with == "parent":
        first = Architecture.of({"kernel": 3})
        save_weights(tiny.build_kernel(first.as_dict(), tiny.SHAPE), root / "parent.pt")
        spec = dataclasses.replace(spec, parent=Parent("a" * 16, first))
        paths = dataclasses.replace(tiny.place(root, spec), parent=root / "parent.pt")
    if begins_with == "teacher":
        spec = dataclasses.replace(spec, init=FROM_TEACHER)
        paths = tiny.place(root, spec)
    return spec, paths


@pytest.mark.parametrize("begins_with", ["teacher", "parent"])
def test_a_student_that_nothing_fits_begins_fresh_and_says_so(tmp_path, monkeypatch, begins_with):
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    fresh = prepare_trial(*begun_of(tmp_path, "fresh", 5)).student.state_dict()
    spec, paths = begun_of(tmp_path, begins_with, 5)
    begun = prepare_trial(spec, paths)
    assert all(value.equal(fresh[name]) for name, value in begun.student.state_dict().items())
    run_trial(spec, seen := tiny.Recorder(), paths)
    assert all(metrics[BEGAN_FRESH] == 1 for metrics in seen.seen.values())
    giver = "its parent's" if begins_with == "parent" else "the teacher's"
    expected = f"a student that nothing of {giver} weights fits began with drawn weights"
    assert (paths.trial / REMARK_FILE).read_text() == expected

    broken = dataclasses.replace(paths, trial=tmp_path / "broken")
    with pytest.raises(StopTrial):
        run_trial(spec, tiny.Recorder(stop=2), broken)
    run_trial(spec, tiny.Recorder(), broken)
    assert all(value.equal(weights_of(broken)[name]) for name, value in weights_of(paths).items())


@pytest.mark.parametrize("begins_with", ["teacher", "parent"])
def test_a_student_that_something_fits_says_nothing(tmp_path, begins_with):
    spec, paths = begun_of(tmp_path, begins_with, 3)
    run_trial(spec, seen := tiny.Recorder(), paths)
    assert not any(BEGAN_FRESH in metrics for metrics in seen.seen.values())
    assert not (paths.trial / REMARK_FILE).exists()


def own_teacher(tmp_path) -> TeacherSpec:
    """With images of twice the size, a normalisation and an order of classes of its own."""
    torch.manual_seed(3)
    save_weights(tiny.teacher(InputShape(1, 16, 16, 5)), tmp_path / "own.pt")
    return TeacherSpec(
        model="tests.tiny:teacher",
        checkpoint=str(tmp_path / "own.pt"),
        digest=digest_file(tmp_path / "own.pt"),
        resolution=16,
        preprocessing=Preprocessing(mean=(0.3,), std=(0.6,)),
        classes=(4, 0, 2),
        total_classes=5,
    )


@pytest.mark.parametrize("inherit", [True, False])
def test_students_inside_a_teacher_with_images_and_classes_of_its_own(tmp_path, inherit):
    spec = tiny.spec(
        method="subgraph",
        options={"choose": "magnitude", "divisor": 1, "inherit": inherit},
        data=dataclasses.replace(tiny.DATA, view=16),
        teacher=own_teacher(tmp_path),
        recipe=Recipe(epochs=1, batch_size=16),
    )
    place, recorder = tiny.place(tmp_path, spec), tiny.Recorder()
    run_trial(spec, recorder, place)
    student = load_trained_student(place.trial)
    assert student(torch.zeros(2, 1, 8, 8)).shape == (2, 3)
    assert recorder.seen[1]["macs"] <= prepare_trial(spec, place).cost.macs


def test_a_warm_student_of_such_a_teacher_names_the_classes_of_the_data(tmp_path):
    teacher = own_teacher(tmp_path)
    spec = tiny.spec(method="kd", width=15, data=dataclasses.replace(tiny.DATA, view=16), teacher=teacher)
    spec = dataclasses.replace(spec, init=FROM_TEACHER)
    student = prepare_trial(spec, tiny.place(tmp_path, spec)).student
    saved = torch.load(tmp_path / "own.pt", weights_only=True)
    assert student.get_parameter("classifier.bias").equal(saved["classifier.bias"][[4, 0, 2]])
