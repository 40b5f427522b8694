"""Plain distillation: its limit at weight 0, its teacher, its exact continuation, and that it learns real digits."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from automl_kd.errors import CheckpointError, ConfigError, StopTrial, TrialError
from automl_kd.methods import kd, make_method, run_trial
from automl_kd.models.weights.checkpoint import save_weights
from automl_kd.space import Architecture
from automl_kd.spec import DataSpec, Recipe, TeacherSpec, TrialPaths, TrialSpec, teacher_trial
from automl_kd.training import loop
from automl_kd.training.trial import load_teacher
from tests import tiny


def weights(paths: TrialPaths, name: str = "student.pt") -> dict[str, Tensor]:
    found: dict[str, Tensor] = torch.load(paths.trial / name, weights_only=True)
    return found


def equal(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return list(one) == list(two) and all(torch.equal(one[key], two[key]) for key in one)


def trained(root: Path, spec: TrialSpec) -> TrialPaths:
    place = tiny.place(root, spec)
    run_trial(spec, tiny.Recorder(), place)
    return place


def test_at_weight_0_it_is_training_from_scratch_bit_for_bit(tmp_path):
    alone = trained(tmp_path, tiny.taught(tmp_path, "scratch"))
    unheard = trained(tmp_path, tiny.taught(tmp_path, "kd", options={"weight": 0.0}))
    heard = trained(tmp_path, tiny.taught(tmp_path, "kd", options={"weight": 0.5}))
    assert equal(weights(alone), weights(unheard))
    assert not equal(weights(alone), weights(heard))


def test_temperature_counts(tmp_path):
    cool, warm = (trained(tmp_path, tiny.taught(tmp_path, "kd", options={"temperature": t})) for t in (1.0, 4.0))
    assert not equal(weights(cool), weights(warm))


def test_the_teacher_is_as_it_was_and_in_evaluation_mode(tmp_path, monkeypatch):
    teachers, before = [], []

    def kept(setting):
        teachers.append(load_teacher(setting))
        before.append({key: tensor.clone() for key, tensor in teachers[0].state_dict().items()})
        return teachers[0]

    monkeypatch.setattr(kd, "load_teacher", kept)
    trained(tmp_path, tiny.taught(tmp_path, "kd"))
    assert equal(before[0], dict(teachers[0].state_dict()))
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in teachers[0].parameters())
    assert not any(module.training for module in teachers[0].modules())


@pytest.mark.parametrize("stop", [1, 2])
def test_a_stopped_trial_continues_to_the_same_weights_bit_for_bit(tmp_path, monkeypatch, stop):
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    spec = tiny.taught(tmp_path, "kd")
    whole = trained(tmp_path, spec)
    broken = dataclasses.replace(whole, trial=tmp_path / "broken")
    with pytest.raises(StopTrial):
        run_trial(spec, tiny.Recorder(stop), broken)
    run_trial(spec, tiny.Recorder(), broken)
    for name in ("student.pt", "student_best.pt"):
        assert equal(weights(whole, name), weights(broken, name))


def test_a_trial_that_names_no_teacher_says_so(tmp_path):
    spec = tiny.spec(method="kd")
    with pytest.raises(TrialError, match=r"^method 'kd' needs a teacher and the trial names none; add a \[teacher\]"):
        run_trial(spec, tiny.Recorder(), tiny.place(tmp_path, spec))


def test_a_teacher_that_was_not_trained_is_missed_by_its_path(tmp_path):
    spec = tiny.spec(method="kd", teacher=tiny.TEACHER)
    file = tmp_path / "teachers" / tiny.lesson().key / "student.pt"
    with pytest.raises(CheckpointError, match=f"^there is no checkpoint file {file}; check the path$"):
        run_trial(spec, tiny.Recorder(), tiny.place(tmp_path, spec))


def test_a_teacher_for_other_classes_is_refused_in_one_sentence(tmp_path):
    file = tmp_path / "ten.pt"
    save_weights(tiny.teacher(dataclasses.replace(tiny.SHAPE, classes=10)), file)
    spec = tiny.spec(method="kd", teacher=TeacherSpec(model="tests.tiny:teacher", checkpoint=str(file)))
    with pytest.raises(
        CheckpointError, match=f"^checkpoint {file} has 10 classes, the data has 3; say by teacher.classes"
    ):
        run_trial(spec, tiny.Recorder(), tiny.place(tmp_path, spec))


def test_a_teacher_from_a_file_teaches_like_one_trained_here(tmp_path):
    spec = tiny.taught(tmp_path, "kd")
    file = tmp_path / "teachers" / tiny.lesson().key / "student.pt"
    loaded = TeacherSpec(model="tests.tiny:teacher", checkpoint=str(file), digest="d")
    assert equal(
        weights(trained(tmp_path, spec)), weights(trained(tmp_path, dataclasses.replace(spec, teacher=loaded)))
    )


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"temperature": 0.0}, "temperature must be above 0, got 0.0"),
        ({"temperature": -1.0}, "temperature must be above 0, got -1.0"),
        ({"weight": 1.5}, r"weight must lie in \[0, 1\], got 1.5"),
        ({"weight": -0.1}, r"weight must lie in \[0, 1\], got -0.1"),
        ({"wieght": 0.5}, "unknown key 'wieght'; did you mean 'weight'?"),
    ],
)
def test_options_out_of_range_are_refused_in_one_sentence(options, reason):
    with pytest.raises(ConfigError, match=rf"^options of method 'kd': {reason}"):
        make_method("kd", options)


@pytest.mark.slow
def test_real_digits_are_learnt_from_scratch_and_from_a_teacher(tmp_path):
    data, recipe = DataSpec(name="digits", validation=0.2), Recipe(epochs=6, batch_size=64, lr=0.1)
    teacher = TeacherSpec(model="resnet8", recipe=recipe)
    lesson = teacher_trial(teacher, data)
    master = tiny.Recorder()
    folder = tmp_path / "teachers" / lesson.key
    run_trial(lesson, master, dataclasses.replace(tiny.place(tmp_path, lesson), trial=folder))
    assert master.seen[6]["val_accuracy"] > 0.8
    student = Architecture.of({"depth1": 1, "depth2": 1, "depth3": 1})
    for method, guide in (("scratch", None), ("kd", teacher)):
        spec = tiny.spec(method=method, teacher=guide, data=data, recipe=recipe)
        spec = dataclasses.replace(spec, space="search_spaces.resnet_depth:SPACE", architecture=student)
        recorder = tiny.Recorder()
        run_trial(spec, recorder, tiny.place(tmp_path, spec))
        assert recorder.seen[6]["val_accuracy"] > 0.8
