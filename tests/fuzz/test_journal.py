"""Whatever has become of the file of Optuna's study, a search that begins again makes it whole."""

from __future__ import annotations

from random import Random

import pytest

from tests.fuzz.values import damage
from tests.samplers.test_study import TRIED, keys, study_file


@pytest.mark.parametrize("seed", range(30))
def test_a_damaged_journal_is_made_whole(tmp_path, seed):
    random = Random(seed)
    study_file(tmp_path).begin({name: TRIED[name] for name in ("a", "b")})
    file = tmp_path / "study.journal"
    content = file.read_bytes()
    for _ in range(random.choice([1, 1, 3])):
        content = damage(content, random)
    file.write_bytes(content)
    found = study_file(tmp_path)
    found.begin({name: TRIED[name] for name in ("a", "b")})
    found.add("c", TRIED["c"])
    assert keys(tmp_path) == ["a", "b", "c"]
    assert [path.name for path in tmp_path.iterdir()] == ["study.journal"]
