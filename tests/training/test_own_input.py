"""A teacher with images, normalisation and classes of its own, and the students that it teaches."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from automl_kd.data import plain_view
from automl_kd.methods import estimate_cost, run_trial
from automl_kd.methods.base import STEP
from automl_kd.methods.model_card import load_trained_student
from automl_kd.models.costs.cost import count_cost
from automl_kd.models.weights.checkpoint import digest_file, save_weights
from automl_kd.space import InputShape
from automl_kd.spec import Preprocessing, TeacherCacheOptions, TeacherSpec, TrialSpec
from automl_kd.training.trial import load_teacher, prepare_trial
from tests import tiny

OWN = Preprocessing(mean=(0.3,), std=(0.6,))
CLASSES = (4, 0, 2)
DATA = dataclasses.replace(tiny.DATA, view=16)


@pytest.fixture
def spec(tmp_path) -> TrialSpec:
    torch.manual_seed(3)
    save_weights(tiny.teacher(InputShape(1, 16, 16, 5)), tmp_path / "own.pt")
    teacher = TeacherSpec(
        model="tests.tiny:teacher",
        checkpoint=str(tmp_path / "own.pt"),
        digest=digest_file(tmp_path / "own.pt"),
        resolution=16,
        preprocessing=OWN,
        classes=CLASSES,
        total_classes=5,
    )
    return dataclasses.replace(tiny.spec(method="kd"), data=DATA, teacher=teacher)


def test_the_teacher_sees_its_own_images_and_names_the_classes_of_the_data(tmp_path, spec):
    context = prepare_trial(spec, tiny.place(tmp_path, spec))
    dataset = context.dataset
    rows = torch.arange(8)
    assert dataset.train.inputs.shape[2:] == (16, 16)
    assert dataset.student_shape == dataclasses.replace(tiny.SHAPE)
    bare = tiny.teacher(InputShape(1, 16, 16, 5)).eval()
    bare.load_state_dict(torch.load(tmp_path / "own.pt", weights_only=True))
    pixels = dataset.train.inputs[rows].float() / 255
    expected = bare((pixels - 0.3) / 0.6)[:, list(CLASSES)]
    found = load_teacher(context)(plain_view(dataset, dataset.train, rows))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_students_see_smaller_images_and_cost_what_they_cost_at_that_size(tmp_path, spec):
    recorder = tiny.Recorder()
    place = tiny.place(tmp_path, spec)
    run_trial(spec, recorder, place)
    context = prepare_trial(spec, place)
    student = count_cost(tiny.Net(tiny.SHAPE, 4), tiny.SHAPE)
    teacher = count_cost(tiny.teacher(InputShape(1, 16, 16, 5)), InputShape(1, 16, 16, 5))
    last = recorder.seen[3]
    assert (last["params"], last["macs"]) == (student.params, student.macs)
    assert last["train_macs"] == 3 * len(context.dataset.train) * (STEP * student.macs + teacher.macs)
    assert estimate_cost(spec, place).epoch_macs == last["train_macs"] / 3
    trained = load_trained_student(place.trial)
    assert trained(torch.zeros(1, 1, 8, 8)).shape == (1, 3)
    images = plain_view(context.dataset, context.dataset.test, torch.arange(30))
    small = torch.nn.functional.interpolate(images, (8, 8), mode="bilinear", antialias=True)
    right = (trained(small).argmax(1) == context.dataset.test.labels).double().mean()
    assert float(right) == pytest.approx(last["test_accuracy"])


def test_its_outputs_come_from_the_cache_as_from_itself(tmp_path, spec):
    live, first, second = (tiny.place(tmp_path / name, spec) for name in ("live", "first", "second"))
    options = TeacherCacheOptions(keep="logits")
    for place in (first, second):
        run_trial(
            spec, recorder := tiny.Recorder(), dataclasses.replace(place, teachers=tmp_path, teacher_cache=options)
        )
    assert recorder.seen[3]["teacher_passes_saved"] > 0
    run_trial(spec, tiny.Recorder(), live)
    weights = [torch.load(one.trial / "student.pt", weights_only=True) for one in (live, first, second)]
    assert all(
        torch.equal(one, two)
        for other in weights[1:]
        for one, two in zip(weights[0].values(), other.values(), strict=True)
    )


def test_what_it_makes_of_images_is_part_of_a_trials_key(spec):
    changes = ({"resolution": 8}, {"preprocessing": Preprocessing()}, {"classes": (0, 1, 2)}, {"total_classes": 6})
    keys = {dataclasses.replace(spec, teacher=dataclasses.replace(spec.teacher, **one)).key for one in changes}
    assert len(keys | {spec.key}) == 5
    named = dataclasses.replace(spec, teacher=dataclasses.replace(spec.teacher, class_names="elsewhere.txt"))
    assert named.key == spec.key
    assert TrialSpec.from_json(spec.to_json()) == spec
