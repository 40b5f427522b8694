"""What is written is read, once, whatever happens in between."""

from __future__ import annotations

import errno
import os
import resource
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import automl_kd
from automl_kd.errors import ResultError
from automl_kd.results import Point, ResultTable, read_results
from automl_kd.results.store import parquet
from automl_kd.results.store.config_hash import hash_config
from automl_kd.results.store.row import ROW_SCHEMA
from automl_kd.spec import Recipe
from tests import tiny
from tests.results.synthetic import NOON, curve, finals, row

KEYS = ["a1", "b2", "c3"]


@pytest.fixture
def table(tmp_path):
    """Three trials, their validation accuracies 0.1, 0.2, 0.3, with two epochs each."""
    table = ResultTable(tmp_path / "x")
    for place, key in enumerate(KEYS, start=1):
        table.append(row(key=key, val_accuracy=place / 10), curve(place / 10, 2))
    return table


def loose(table: ResultTable, kind: str = "rows") -> list[Path]:
    return sorted((table.folder / kind).glob("trial_kind=*/*.parquet"))


def accuracies(table: ResultTable) -> dict[str, float]:
    rows = table.read()
    assert rows["key"].is_unique
    return dict(zip(rows["key"], rows["val_accuracy"], strict=True))


ALL = {"a1": 0.1, "b2": 0.2, "c3": 0.3}


def test_round_trip_with_dtypes(table):
    rows, curves = read_results(table.folder)
    assert accuracies(table) == ALL
    assert str(rows["params"].dtype) == "Int64"
    assert str(rows["error"].dtype) == "string"
    assert rows["error"].isna().all()
    assert rows["latency_ms"].dtype == np.float64
    assert np.isnan(rows["latency_ms"]).all()
    assert isinstance(rows["status"].dtype, pd.CategoricalDtype)
    assert list(rows["started"]) == [NOON] * 3
    assert list(curves["key"]) == ["a1", "a1", "b2", "b2", "c3", "c3"]
    assert list(curves["epoch"]) == [1, 2] * 3
    assert table.keys("search") == set(KEYS)
    assert table.keys("final") == set()


def test_same_key_again_replaces_row_and_whole_curve(table):
    table.append(row(key="b2", val_accuracy=0.9), curve(0.9, 1))
    assert accuracies(table) == {**ALL, "b2": 0.9}
    assert list(table.curves().query("key == 'b2'")["epoch"]) == [1]


def test_same_key_in_other_runs_is_another_row(table):
    table.append(row(trial_kind="teacher", role="teacher", key="a1"))
    assert len(table.read()) == 4


def test_one_trial_may_stand_for_two_roles(tmp_path):
    table = ResultTable(tmp_path)
    for role in ("default-kd", "found-method"):
        table.append(finals(role, {0: 0.5}, key="same")[0], curve(0.5, 2))
    assert sorted(table.read()["role"]) == ["default-kd", "found-method"]
    assert table.keys("final") == {"same"}
    assert table.keys("final", "found-method") == {"same"}
    assert table.keys("final", "found-scratch") == set()
    assert len(table.curves()) == 2
    table.fold()
    assert sorted(table.read()["role"]) == ["default-kd", "found-method"]


def test_a_new_table_is_empty_with_all_columns(tmp_path):
    rows = ResultTable(tmp_path).read()
    assert rows.empty
    assert list(rows.columns) == ROW_SCHEMA.names


@pytest.mark.parametrize("rounds", [1, 2])
def test_fold_changes_nothing_but_the_number_of_files(table, rounds):
    before = read_results(table.folder)
    for _ in range(rounds):
        table.fold()
    after = read_results(table.folder)
    pd.testing.assert_frame_equal(before.rows, after.rows)
    pd.testing.assert_frame_equal(before.curves, after.curves)
    assert not loose(table)
    assert not loose(table, "curves")
    assert [path.name[:12] for path in (table.folder / "rows").glob("*.parquet")] == ["part-000001-"]


def test_rows_after_a_fold_are_newer(table):
    table.fold()
    table.append(row(key="a1", val_accuracy=0.7), curve(0.7, 1))
    assert accuracies(table) == {**ALL, "a1": 0.7}
    table.fold()
    assert accuracies(table) == {**ALL, "a1": 0.7}
    assert len(table.curves()) == 5


class Cut(BaseException):
    """The process is killed here."""


@pytest.mark.parametrize("deletions", range(5))
def test_a_fold_killed_between_deletions_loses_and_doubles_nothing(table, monkeypatch, deletions):
    # Rows are an old part and three loose files, so four deletions; the fifth is one of curves.
    table.fold()
    for key, value in {"a1": 0.5, "b2": 0.6, "d4": 0.4}.items():
        table.append(row(key=key, val_accuracy=value), curve(value, 3))
    expected = {"a1": 0.5, "b2": 0.6, "c3": 0.3, "d4": 0.4}
    unlink = Path.unlink
    done: list[Path] = []

    def cut(path: Path, missing_ok: bool = False) -> None:
        if len(done) == deletions:
            raise Cut
        done.append(path)
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", cut)
    with pytest.raises(Cut):
        table.fold()
    monkeypatch.undo()
    assert accuracies(table) == expected
    assert len(table.curves()) == 3 + 3 + 2 + 3
    table.fold()
    assert accuracies(table) == expected
    assert len(list((table.folder / "rows").rglob("*.parquet"))) == 1


def test_a_fold_killed_before_its_part_has_its_name_changes_nothing(table, monkeypatch):
    def cut(*_: object) -> None:
        raise Cut

    monkeypatch.setattr(Path, "replace", cut)
    monkeypatch.setattr(Path, "unlink", lambda path, missing_ok: None)  # the dead do not tidy up
    with pytest.raises(Cut):
        table.fold()
    monkeypatch.undo()
    assert list((table.folder / "rows").glob("_*")), "the scratch file is there and is skipped"
    assert accuracies(table) == ALL


def test_a_row_written_while_folding_is_kept(table, monkeypatch):
    write = parquet.write_parquet

    def write_then_append(stored: pa.Table, path: Path) -> None:
        write(stored, path)
        if path.name.startswith("part-") and path.parent.name == "rows":
            monkeypatch.undo()
            table.append(row(key="a1", val_accuracy=0.9))

    monkeypatch.setattr(parquet, "write_parquet", write_then_append)
    table.fold()
    assert accuracies(table) == {**ALL, "a1": 0.9}


def test_reading_while_another_process_folds(table, monkeypatch):
    load = parquet.load_parquet
    calls: list[Path] = []

    def load_after_fold(path: Path, *rest: Any) -> pa.Table:
        if not calls:
            calls.append(path)
            table.fold()
        return load(path, *rest)

    monkeypatch.setattr(parquet, "load_parquet", load_after_fold)
    assert accuracies(table) == ALL


@pytest.mark.parametrize("content", [b"", b"PAR1 torn", None])
def test_a_torn_file_is_named(table, content):
    path = loose(table)[1]
    path.write_bytes(path.read_bytes()[:-20] if content is None else content)
    with pytest.raises(ResultError, match=r"b2\.parquet cannot be read as Parquet"):
        table.read()
    with pytest.raises(ResultError, match=r"b2\.parquet"):
        table.fold()
    assert len(loose(table)) == 3


def test_a_foreign_file_is_named(table):
    pq.write_table(pa.table({"price": [1.0]}), table.folder / "rows" / "trial_kind=search" / "stocks.parquet")
    with pytest.raises(ResultError, match=r"stocks\.parquet has no column 'trial_kind'"):
        read_results(table.folder)


def test_a_column_of_another_type_is_named(table):
    path = loose(table)[0]
    stored = (
        parquet.load_parquet(path, ROW_SCHEMA, ["key"]).drop_columns(["seed"]).append_column("seed", pa.array(["zero"]))
    )
    pq.write_table(stored, path)
    with pytest.raises(ResultError, match=r"a1\.parquet has a column of another type"):
        table.read()


def test_older_and_newer_files_are_read_in_today_s_shape(table):
    old, new, _ = loose(table)
    stored = parquet.load_parquet(old, ROW_SCHEMA, ["key"])
    pq.write_table(stored.drop_columns(["train_macs", "spec_json"]), old)
    pq.write_table(stored.set_column(1, "key", pa.array(["b2"])).append_column("joules", pa.array([5.0])), new)
    rows = table.read().set_index("key")
    assert np.isnan(rows.loc["a1", "train_macs"])
    assert rows.loc["a1", "spec_json"] is pd.NA
    assert rows.loc["b2", "train_macs"] == 1e12
    assert "joules" not in rows.columns
    table.fold()
    pd.testing.assert_frame_equal(rows, table.read().set_index("key"))


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_no_space_left_passes_on_and_leaves_nothing(table, monkeypatch):
    before = everything(table.folder)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        table.append(row(key="a1", val_accuracy=0.9), curve(0.9, 3))
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(OSError, match="No space left"):
        table.fold()
    assert everything(table.folder) == before


def test_a_write_cut_by_a_real_limit_leaves_nothing(table):
    before = everything(table.folder)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            table.append(row(key="a1", val_accuracy=0.9), curve(0.9, 3))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert everything(table.folder) == before


def test_read_takes_one_experiment_or_several(tmp_path):
    for name in ("one", "two"):
        ResultTable(tmp_path / name).append(row(key="same", experiment=name), curve(0.5, 2))
    rows, curves = read_results(tmp_path)
    assert list(rows["experiment"]) == ["one", "two"]
    joined = rows.merge(curves, on=["experiment", "trial_kind", "key"])
    assert len(joined) == 4
    assert len(read_results(str(tmp_path / "two")).rows) == 1


def test_only_some_columns_can_be_read(tmp_path):
    table = ResultTable(tmp_path / "x")
    for place, key in enumerate(["b", "a", "c"]):
        table.append(row(key=key, started=NOON - timedelta(minutes=place), val_accuracy=place / 10))
    whole = table.read()
    pd.testing.assert_frame_equal(table.read(["val_accuracy", "key"]), whole[["val_accuracy", "key"]])
    assert list(automl_kd.read_results(tmp_path, ["key"]).rows["key"]) == ["c", "a", "b"]
    with pytest.raises(ResultError, match="rows have no column 'acuracy'"):
        table.read(["acuracy"])


def test_config_hashes_of_earlier_versions_are_made_from_their_specs(tmp_path):
    table = ResultTable(tmp_path)
    specs = {"a": tiny.spec().to_json(), "b": tiny.spec(recipe=Recipe(epochs=9)).to_json(), "c": None}
    for key, spec in specs.items():
        table.append(row(key=key, spec_json=spec))
    table.append(row(key="d", spec_json=specs["a"], config_hash="kept"))
    wanted = {key: None if spec is None else hash_config(spec) for key, spec in specs.items()} | {"d": "kept"}
    for _ in range(2):
        for rows in (table.read(), table.read(["key", "config_hash"])):
            found = dict(zip(rows["key"], rows["config_hash"].tolist(), strict=True))
            assert {key: None if pd.isna(value) else value for key, value in found.items()} == wanted
        table.fold()


def test_read_says_what_is_missing(tmp_path):
    with pytest.raises(ResultError, match="there is no folder"):
        read_results(tmp_path / "nowhere")
    with pytest.raises(ResultError, match="no results are in"):
        read_results(tmp_path)
    (tmp_path / "x" / "rows").mkdir(parents=True)
    with pytest.raises(ResultError, match="without any finished trial"):
        read_results(tmp_path)


def test_a_value_of_the_wrong_type_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ResultError, match="does not fit the types"):
        ResultTable(tmp_path).append(row(params="many"))
    assert not everything(tmp_path)


actions = st.lists(st.tuples(st.sampled_from(KEYS), st.floats(0, 1)) | st.just("fold"), max_size=8)


@settings(max_examples=15, deadline=None)
@given(actions)
def test_a_table_is_a_dictionary_whatever_is_folded_when(todo):
    with tempfile.TemporaryDirectory() as folder:
        table, expected = ResultTable(Path(folder)), {}
        for action in todo:
            if action == "fold":
                table.fold()
            else:
                key, value = action
                table.append(row(key=key, val_accuracy=value), [Point(epoch=1, val_accuracy=value)])
                expected[key] = value
        assert accuracies(table) == expected
        assert dict(zip(table.curves()["key"], table.curves()["val_accuracy"], strict=True)) == expected
