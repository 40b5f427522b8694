"""What two searches found becomes comparisons on three pairs of teacher and student."""

from __future__ import annotations

import json
import sys

import pytest

from automl_kd.config import load_experiment
from automl_kd.errors import ResultError
from automl_kd.methods.hyperparameters import settle_comparison
from automl_kd.results import ResultTable
from benchmarks import teaching_pairs
from tests.results.synthetic import finals

SCHEDULE = [[0.0, {"recipe.lr": 0.05, "recipe.augment": "crop-flip", "student.init": "teacher"}]]


def leave(folder, method, options, schedule):
    changes = {"method": method, "options_json": json.dumps(options), "schedule_json": json.dumps(schedule)}
    table = ResultTable(folder)
    for row in finals("found-method", {0: 0.9, 1: 0.91}, values_json="{}", **changes):
        table.append(row)
    return folder


def test_three_comparisons_of_what_was_found(tmp_path, monkeypatch):
    found = leave(tmp_path / "found", "weighted_losses", {"losses": "kd=0.7, pkt=3000.0"}, SCHEDULE)
    tuned = leave(tmp_path / "tuned", "kd", {"temperature": 2.5, "weight": 0.8}, [[0.0, {"recipe.lr": 0.1}]])
    monkeypatch.setattr(sys, "argv", ["teaching_pairs", str(found), str(tuned), str(tmp_path / "out")])
    teaching_pairs.main()
    written = {path.stem: load_experiment(path) for path in (tmp_path / "out").glob("*.toml")}
    students = {name: (one.space, one.teacher.model) for name, one in written.items()}
    assert students == {
        "teaching_found": ("model:resnet8", "resnet20"),
        "teaching_deeper": ("model:resnet14", "resnet32"),
        "teaching_vgg": ("model:vgg8", "vgg13"),
    }
    for one in written.values():
        scratch, kd, best = settle_comparison(one.comparison).methods
        assert (scratch.method, one.comparison.reference) == ("scratch", "kd")
        assert (kd.method, kd.options, kd.recipe) == ("kd", {"temperature": 2.5, "weight": 0.8}, {"lr": 0.1})
        assert best.options["losses"] == "kd=0.7, pkt=3000.0"
        assert (best.init, best.recipe) == ("teacher", {"lr": 0.05, "augment": "crop-flip"})
        assert (one.recipe.epochs, one.data.resolution, len(one.finalists.seeds)) == (12, 16, 8)


def test_a_search_without_an_end_has_found_nothing(tmp_path):
    with pytest.raises(ResultError, match="no complete final of what its search found; run it to its end"):
        teaching_pairs.entry_of(tmp_path, "kd", "")
