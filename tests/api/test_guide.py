"""The blocks of `docs/python.md` run in order."""

from __future__ import annotations

import re
from typing import Any

import pytest

import automl_kd
from tests import ROOT

akd: Any = automl_kd
"""Without its types, which would refuse some of what is tried here."""

GUIDE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


@pytest.mark.ray
@pytest.mark.slow
def test_the_blocks_run(ray_session, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in BLOCKS:
        exec(compile(block, "docs/python.md", "exec"), names)
    assert names["logits"].shape == (2, 10)
    assert names["loaded"].experiment.search.trials == 20
    assert names["loss"] > 0
    assert "it should be 'sgd', 'adamw' or 'lamb'" in capsys.readouterr().out
    assert (tmp_path / "report" / "leaderboard.html").exists()


def test_every_public_name_is_in_the_guide():
    known = {name for name in akd.__all__ if not name.startswith("_")}
    shown = set(re.findall(r"akd\.(\w+)", GUIDE)) | {"Result", "SearchSpace"}
    assert known <= shown
    assert shown <= known


def test_the_guide_shows_the_sentences_that_are_raised():
    (line,) = re.findall(r"print\(error\)  # (.*)", GUIDE)
    with pytest.raises(ValueError, match=re.escape(line)):
        akd.Recipe(optimizer="sdg")
