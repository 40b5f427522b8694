"""A trained student is handed over as a folder from which it can be built again."""

from __future__ import annotations

import pytest
import torch

import automl_kd
from automl_kd.errors import CheckpointError
from automl_kd.methods import run_trial
from tests import tiny


def test_the_student_of_a_finished_trial_is_built_again(tmp_path):
    spec = tiny.spec(method="scratch")
    place = tiny.place(tmp_path, spec)
    recorder = tiny.Recorder()
    run_trial(spec, recorder, place)
    student = automl_kd.load_student(place.trial)
    assert not student.training
    weights = torch.load(place.trial / "student.pt", weights_only=True)
    assert all(torch.equal(value, weights[name]) for name, value in student.state_dict().items())
    assert student(torch.rand(2, 1, 8, 8)).shape == (2, 3)
    best = automl_kd.load_student(place.trial, best=True)
    assert best.state_dict().keys() == weights.keys()


def test_an_unfinished_trial_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"holds no finished student .*give the folder trials/<key>"):
        automl_kd.load_student(tmp_path)
