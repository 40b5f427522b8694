"""The NAS-Bench-201 table: where it is looked for, and one sentence for each file that cannot be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow.parquet as pq
import pytest

from automl_kd.errors import ConfigError, ResultError, UnknownNameError
from automl_kd.nasbench.table.table import ENVIRONMENT, Table, find_table
from tests.nasbench.table_files import cell, columns, sentence, write

# --- finding the file


def test_found_by_path_folder_or_environment(tmp_path, monkeypatch):
    path = write(tmp_path)
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path))
    assert find_table() == find_table(tmp_path) == find_table(path) == path
    monkeypatch.delenv(ENVIRONMENT)
    monkeypatch.chdir(tmp_path)
    assert find_table() == path


def test_a_missing_table_says_how_to_get_one(tmp_path, monkeypatch):
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    monkeypatch.chdir(tmp_path)
    for where in (None, tmp_path, tmp_path / "gone"):
        said = sentence(find_table, where, kind=ConfigError)
        assert "automl-kd nasbench import" in said
        assert "--nasbench201" in said
        assert ENVIRONMENT in said


# --- what is refused

SWAPPED = [cell(number) for number in (0, 3, 284, 11)]
REFUSED: dict[str, tuple[Mapping[str, Sequence[object]], str]] = {
    "numbers twice": ({"arch_index": [3, 3, 284, 11]}, "distinct numbers from 0 to 15624"),
    "number too large": ({"arch_index": [3, 15_625, 284, 11]}, "distinct numbers from 0 to 15624"),
    "no cell": ({"arch_str": ["|", *columns()["arch_str"][1:]]}, "'|' is no cell of NAS-Bench-201"),
    "other numbering": ({"arch_str": SWAPPED}, "gives number 0 to"),
    "above 100 percent": ({"cifar10_valid_acc_12": [50, 60, 70, 101]}, "goes from 50 to 101"),
    "below nothing": ({"cifar10_test_acc_200": [-1, 60, 70, 80]}, "goes from -1 to 80"),
    "fractions": ({"cifar10_test_acc_200": [0.5, 0.6, 0.7, 0.9373]}, "percent there; multiply fractions by 100"),
    "words for numbers": ({"cifar10_params_m": list("abcd")}, "in place of numbers"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_contradictions_are_named(tmp_path, case):
    changed, said = REFUSED[case]
    path = write(tmp_path, changed)
    found = sentence(Table.load, path, kind=ResultError)
    assert said in found
    assert str(path) in found


@pytest.mark.parametrize("name", ["arch_index", "arch_str", "imagenet16_test_acc_200", "cifar10_flops_m"])
def test_a_missing_column_is_named(tmp_path, name):
    assert f"has no column {name!r}" in sentence(Table.load, write(tmp_path, left_out=name), kind=ResultError)


def test_another_format_is_refused(tmp_path):
    path = write(tmp_path, metadata={b"automl_kd.nasbench201": b"2"})
    assert "is of format 2 and this version reads format 1" in sentence(Table.load, path, kind=ResultError)


@pytest.mark.parametrize("name", ["nasbench201.parquet", "nasbench201_hardware.parquet"])
@pytest.mark.parametrize("part", [0.0, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, name, part):
    write(tmp_path)
    whole = (tmp_path / "nasbench201.parquet").read_bytes()
    (tmp_path / name).write_bytes(whole[: int(part * len(whole))])
    said = sentence(Table.load, tmp_path, kind=ResultError)
    assert f"{name} is damaged or no Parquet file" in said


def test_a_table_without_rows_is_refused(tmp_path):
    path = write(tmp_path)
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    assert "has no rows" in sentence(Table.load, path, kind=ResultError)


def test_unknown_names_are_answered_with_known_ones(tmp_path):
    small = Table.load(write(tmp_path))
    assert "did you mean 'cifar100'" in sentence(small.choosing, "cifar1000", kind=UnknownNameError)
    assert "did you mean 'cifar10_flops_m'" in sentence(small.column, "cifar10_flop_m", kind=UnknownNameError)
    assert "has no column 'cifar10_test_acc_12'" in sentence(small.reporting, "cifar10", 12, kind=UnknownNameError)
