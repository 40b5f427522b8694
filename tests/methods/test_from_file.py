"""A teacher from a file is measured as students are, once for what its file holds and the data."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from torch import nn

from automl_kd.data import load_data
from automl_kd.errors import ConfigError, TrialError
from automl_kd.methods import dry_run_method, estimate_cost, run_trial
from automl_kd.methods.from_file import measuring_trial
from automl_kd.models.weights.checkpoint import digest_file, save_weights
from automl_kd.spec import TeacherSpec, TrialPaths, TrialSpec
from automl_kd.training.evaluate import evaluate
from tests import tiny


def overflowing(shape):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape.height * shape.width, shape.classes))


def filed(root, model=tiny.teacher, name="tests.tiny:teacher", **changes) -> TeacherSpec:
    """A teacher with random weights in a file."""
    torch.manual_seed(3)
    network = model(tiny.SHAPE)
    save_weights(network, root / "teacher.pt")
    teacher = TeacherSpec(model=name, checkpoint=str(root / "teacher.pt"), digest=digest_file(root / "teacher.pt"))
    return dataclasses.replace(teacher, **changes)


def lesson(teacher: TeacherSpec) -> TrialSpec:
    return measuring_trial(teacher, tiny.DATA, tiny.RECIPE)


def measured(spec: TrialSpec, paths: TrialPaths) -> dict[str, float]:
    recorder = tiny.Recorder()
    run_trial(spec, recorder, paths)
    assert list(recorder.seen) == [1]
    return recorder.seen[1]


def test_it_is_measured_as_a_student_is_and_costs_nothing(tmp_path):
    spec = lesson(filed(tmp_path))
    found = measured(spec, tiny.place(tmp_path, spec))
    torch.manual_seed(3)
    network, dataset = tiny.teacher(tiny.SHAPE).eval(), load_data(tiny.DATA, tmp_path)
    accuracy, loss = evaluate(network, dataset, dataset.validation, spec.recipe)
    assert (found["val_accuracy"], found["val_loss"]) == (accuracy, loss)
    assert found["test_accuracy"] == evaluate(network, dataset, dataset.test, spec.recipe)[0]
    assert found["params"] == sum(one.numel() for one in network.parameters())
    assert found["train_macs"] == found["seconds"] == 0


def test_it_is_measured_once(tmp_path):
    spec = lesson(filed(tmp_path))
    place = tiny.place(tmp_path, spec)
    first = measured(spec, place)
    (tmp_path / "teacher.pt").unlink()
    assert measured(spec, place) == first == json.loads((place.trial / "measured.json").read_text())


def test_the_set_of_weights_that_is_asked_for_is_measured(tmp_path):
    teacher = filed(tmp_path)
    state = tiny.teacher(tiny.SHAPE).state_dict()
    good = torch.load(teacher.checkpoint, weights_only=True)
    torch.save({"model": state, "ema": good}, teacher.checkpoint)
    found = {}
    for name in ("", "ema"):
        spec = lesson(dataclasses.replace(teacher, weights=name))
        found[name] = measured(spec, tiny.place(tmp_path, spec))["val_loss"]
    assert found[""] != found["ema"]
    plain = lesson(filed(tmp_path))
    assert found["ema"] == measured(plain, tiny.place(tmp_path / "plain", plain))["val_loss"]


def test_outputs_that_are_not_finite_are_blamed_on_the_teacher(tmp_path):
    teacher = filed(tmp_path, overflowing, f"{__name__}:overflowing")
    state = {name: torch.full_like(value, 3e38) for name, value in torch.load(teacher.checkpoint).items()}
    torch.save(state, teacher.checkpoint)
    spec = lesson(teacher)
    with pytest.raises(TrialError, match=r"outputs of the teacher of .*teacher.pt on validation images are not finite"):
        measured(spec, tiny.place(tmp_path, spec))
    assert not tiny.place(tmp_path, spec).trial.exists()


def test_its_key_follows_the_file_the_data_and_how_students_are_measured(tmp_path):
    teacher = filed(tmp_path)
    key = lesson(teacher).key
    assert lesson(dataclasses.replace(teacher, outputs="top2", checkpoint="/elsewhere.pt")).key == key
    assert measuring_trial(teacher, tiny.DATA, dataclasses.replace(tiny.RECIPE, epochs=9, lr=0.2)).key == key
    others = [
        lesson(dataclasses.replace(teacher, digest="0")),
        lesson(dataclasses.replace(teacher, weights="ema")),
        measuring_trial(teacher, dataclasses.replace(tiny.DATA, validation=0.3), tiny.RECIPE),
        measuring_trial(teacher, tiny.DATA, dataclasses.replace(tiny.RECIPE, channels_last=False)),
    ]
    assert len({key, *(one.key for one in others)}) == 5


def test_no_student_is_taught_by_it(tmp_path):
    teacher = filed(tmp_path)
    spec = tiny.spec(method="from-file", teacher=teacher)
    with pytest.raises(ConfigError, match=r"'from-file' trains no student: .* choose another method"):
        dry_run_method(spec, load_data(tiny.DATA, tmp_path), tiny.place(tmp_path, spec))


def test_asked_for_its_cost_it_says_none(tmp_path):
    spec = lesson(filed(tmp_path))
    assert estimate_cost(spec, tiny.place(tmp_path, spec)).epoch_macs == 0
