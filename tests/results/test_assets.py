"""Tables written by every version of the schema so far are read for ever, with today's columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import automl_kd
from automl_kd.results.doctor.doctor import diagnose
from automl_kd.results.report.leaderboard import list_failures, rank_results
from automl_kd.results.store.row import CURVE_SCHEMA, ROW_SCHEMA
from automl_kd.results.store.scores import read_scores
from tests.results.assets.write import LATER, TRIALS

ASSETS = sorted(path for path in (Path(__file__).parent / "assets").iterdir() if path.is_dir() and path.name[0] != "_")


def test_there_are_assets():
    assert {path.name for path in ASSETS} >= {
        "341e75e",
        "a5deff7",
        "ddb13d1",
        "c8beac1",
        "with_reason",
        "before_renaming",
    }


@pytest.mark.parametrize("folder", ASSETS, ids=lambda path: path.name)
def test_rows_curves_and_scores_of_an_earlier_version_are_read(folder):
    rows, curves = automl_kd.read_results(folder)
    assert list(rows.columns) == ROW_SCHEMA.names
    assert list(curves.columns) == CURVE_SCHEMA.names
    by_key = rows.set_index("key")
    assert sorted(by_key.index) == [trial["key"] for trial in TRIALS]
    for trial in TRIALS:
        for name, value in trial.items():
            if name != "key":
                found: Any = by_key.loc[trial["key"], name]
                assert found == value if value is not None else pd.isna(found)
    for key, later in LATER.items():
        for name, value in later.items():
            found = by_key.loc[key, name]
            # Where none is on record, a hash is made from the spec.
            assert pd.isna(found) or found == value or name == "config_hash"
    assert str(by_key.loc["bb", "started"]) == "2026-01-02 03:05:05+00:00"
    assert curves[["key", "epoch", "val_accuracy"]].to_dict("list") == {
        "key": ["ee", "ee", "bb", "bb", "cc", "aa", "aa"],
        "epoch": [1, 2, 1, 2, 1, 1, 2],
        "val_accuracy": [0.375, 0.75, 0.375, 0.75, 0.375, 0.375, 0.75],
    }
    (score,) = read_scores(folder).to_dict("records")
    assert (score["proxy"], score["score"], score["student"]) == ("naswot", 1.5, "depth=1")
    assert pd.isna(score["images"]) or score["images"] == 64


@pytest.mark.parametrize("folder", ASSETS, ids=lambda path: path.name)
def test_they_are_ranked_and_their_failures_said_and_the_doctor_finds_them_sound(folder):
    rows = automl_kd.read_results(folder).rows
    assert set(rank_results(rows)["trial_kind"]) == {"teacher", "search", "final"}
    assert "the loss became nan" in list_failures(rows)[0]
    assert diagnose(folder).faults == 0


def test_the_last_asset_has_all_that_is_known_by_now():
    folder = ASSETS[0].parent / "before_renaming"
    rows = automl_kd.read_results(folder).rows.set_index("key")
    for key, later in LATER.items():
        assert {name: rows.loc[key, name] for name in later} == later
    assert read_scores(folder)["repeats"].tolist() == [2]
