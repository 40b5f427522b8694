"""A compression from Python, by objects."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import automl_kd
from automl_kd.errors import RecordError
from tests.api import objects

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


def test_a_limit_that_is_none_is_refused(tmp_path):
    with pytest.raises(RecordError, match="hours must lie above 0"):
        akd.compress("resnet20", "digits", out=tmp_path / "mine", hours=-1.0)
