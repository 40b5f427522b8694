"""Columns that had another name: what was written under it is read, goes on and is told apart from nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from automl_kd.errors import ResultError
from automl_kd.nasbench.table.score_column import read_columns
from automl_kd.results.doctor.doctor import diagnose
from automl_kd.results.store.parquet import files
from automl_kd.results.store.renamed_columns import RENAMED_COLUMNS, find_stored_names
from automl_kd.results.store.row import CURVE_SCHEMA, ROW_SCHEMA, SCORE_SCHEMA
from automl_kd.results.store.table import ResultTable, read_results
from tests.results.assets.write import TRIALS
from tests.results.synthetic import curve, row

ASSET = Path(__file__).parents[1] / "assets" / "before_renaming"
KEYS = sorted(trial["key"] for trial in TRIALS)
TODAY = {*ROW_SCHEMA.names, *CURVE_SCHEMA.names, *SCORE_SCHEMA.names}


@pytest.fixture
def begun(tmp_path) -> ResultTable:
    """A folder that the code before the renaming has begun: a part, and loose files of two trials."""
    shutil.copytree(ASSET, tmp_path / "begun")
    return ResultTable(tmp_path / "begun")


def stored_names(path: Path) -> set[str]:
    return set(pq.read_schema(path).names)


def test_old_names_are_no_columns_and_new_ones_are():
    assert not RENAMED_COLUMNS.keys() & TODAY
    assert set(RENAMED_COLUMNS.values()) <= TODAY
    assert len(set(RENAMED_COLUMNS.values())) == len(RENAMED_COLUMNS)


def test_the_asset_has_every_old_name():
    assert set().union(*(stored_names(path) for path in ASSET.rglob("*.parquet"))) >= RENAMED_COLUMNS.keys()


def test_a_file_s_own_column_comes_before_one_of_the_old_name():
    assert find_stored_names(["student", "seed", "key"], ["label", "seed"]) == {"student": "label", "seed": "seed"}
    assert find_stored_names(["student"], ["label", "student"]) == {"student": "student"}
    assert find_stored_names(["label"], ["label"]) == {"label": "label"}


def test_some_columns_of_old_files_are_read_by_their_new_names(begun):
    whole = begun.read()
    names = [name for name in RENAMED_COLUMNS.values() if name in ROW_SCHEMA.names]
    assert begun.read(names).equals(whole[names])
    assert whole[names].notna().any().all()


@pytest.mark.parametrize("columns", ["student", [1]])
def test_columns_that_are_no_list_of_names_are_refused(begun, columns):
    with pytest.raises(ResultError, match="columns must be a list of names, got"):
        begun.read(columns)


def test_whoever_asks_for_an_old_name_is_told_the_new_one(begun):
    for old in ("run", "label"):
        with pytest.raises(
            ResultError, match=f"rows have no column '{old}'; it is called '{RENAMED_COLUMNS[old]}' now"
        ):
            read_results(begun.folder, [old])


def test_a_folder_that_older_code_has_begun_goes_on(begun):
    begun.append(row(key="dd", val_accuracy=0.5), curve(0.5, 2))  # failed before, under rows/run=search
    begun.append(row(key="ff", proposal=3, val_accuracy=0.6), curve(0.6, 2))
    for _ in range(2):
        rows, curves = read_results(begun.folder)
        assert sorted(rows["key"]) == [*KEYS, "ff"]
        assert rows.set_index("key").loc["dd", "status"] == "complete"
        assert curves.loc[curves["key"] == "dd", "val_accuracy"].tolist() == pytest.approx([0.29, 0.353])
        assert begun.keys("search") == {"bb", "cc", "dd", "ff"}
        begun.fold()
    for kind in ("rows", "curves"):
        (part,) = (begun.folder / kind).rglob("*.parquet")
        assert not stored_names(part) & RENAMED_COLUMNS.keys()


def test_a_row_that_was_recorded_by_either_code_is_newer_than_a_part(begun):
    begun.append(row(key="bb", val_accuracy=0.5))
    assert begun.loose() == 3
    begun.fold()
    assert begun.loose() == 0
    assert begun.read().set_index("key").loc["bb", "val_accuracy"] == 0.5


def test_the_doctor_sets_a_trial_aside_wherever_it_was_recorded(begun):
    begun.append(row(key="dd"))
    begun.set_aside("search", "dd", begun.folder / "damaged")
    assert begun.keys("search") == {"bb", "cc"}
    assert ResultTable(begun.folder / "damaged").read()["key"].tolist() == ["dd"]
    (loose,) = files(begun.folder / "rows" / "run=final")
    loose.write_bytes(b"PAR1 torn")
    assert "cannot be read as Parquet" in " ".join(diagnose(begun.folder, repair=True).lines)
    assert diagnose(begun.folder).faults == 0
    assert sorted(begun.read()["key"]) == ["aa", "bb", "cc"]


def test_columns_of_scores_are_read_by_their_new_names_too():
    (path,) = files(ASSET / "scores")
    assert read_columns(path, ("student", "proxy", "repeats")).to_pylist() == [
        {"student": "depth=1", "proxy": "naswot", "repeats": 2}
    ]
