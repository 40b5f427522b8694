"""What a search has begun stays: fewer trials than that are refused."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

from automl_kd.errors import ResultError
from automl_kd.experiment.stages.search import require_trials
from tests import tiny


def lab(folder, trials: int) -> Any:
    plain = tiny.experiment()
    search = dataclasses.replace(plain.search, trials=trials)
    return SimpleNamespace(folder=folder, experiment=dataclasses.replace(plain, search=search))


def test_fewer_trials_than_were_begun_are_refused(tmp_path):
    require_trials(lab(tmp_path, 1))  # nothing was begun
    (tmp_path / "proposals.jsonl").write_text('{"width": 4}\n' * 7 + '{"wid')
    for enough in (7, 8):
        require_trials(lab(tmp_path, enough))
    said = r"has begun 7 trials, and search.trials is 6: .*; set it to 7 or more, or give this search another name"
    with pytest.raises(ResultError, match=said):
        require_trials(lab(tmp_path, 6))
