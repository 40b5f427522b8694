"""The drawing of the default and the found student."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from automl_kd.models.costs.outline import outline
from automl_kd.results.report.architecture import draw_students
from automl_kd.space import InputShape
from search_spaces import mobile

SHAPE = InputShape(3, 32, 32, 10)
FINALS = pd.DataFrame({"role": ["default-kd", "found-method"], "key": ["a", "b"]})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for key, kernel in (("a", 3), ("b", 7)):
        (tmp_path / "trials" / key).mkdir(parents=True)
        student = mobile.build_mobile({**mobile.SPACE.default, "kernel6": kernel}, SHAPE)
        card = {"layers": outline(student, SHAPE)}
        (tmp_path / "trials" / key / "student.json").write_text(json.dumps(card), encoding="utf-8")
    return tmp_path


def test_both_students_are_drawn_with_what_they_cost(folder):
    drawn = draw_students(folder, FINALS)
    assert drawn is not None
    for words in ("default student: 53 layers, 2.20 M weights", "found student: 53 layers, 2.24 M weights", "larger"):
        assert words in drawn
    assert "5x5" not in drawn
    assert "#0" not in drawn  # colours are the page's


def test_without_both_cards_nothing_is_drawn(folder):
    assert draw_students(folder, FINALS[:1]) is None
    (folder / "trials" / "b" / "student.json").write_text("{}", encoding="utf-8")
    assert draw_students(folder, FINALS) is None
    (folder / "trials" / "b" / "student.json").unlink()
    assert draw_students(folder, FINALS) is None
