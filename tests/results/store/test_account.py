"""Images of an experiment that were moved, and that are others: continued, and refused in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from automl_kd.config import Experiment, to_record
from automl_kd.errors import ResultError
from automl_kd.results.report.page import write_page
from automl_kd.results.store.account import line_of, read_account
from automl_kd.results.store.folder import check_folder, data_name, open_folder, read_experiment_record
from automl_kd.results.store.table import ResultTable
from automl_kd.spec import DataSpec
from tests.results.synthetic import row

EXPERIMENT = Experiment(name="one", space="search_spaces.resnet:SPACE")
HERE = DataSpec(name="folder:/here", digest="aa")


def record_of(data: DataSpec) -> dict[str, Any]:
    return to_record(replace(EXPERIMENT, data=data))


def account_of(data: DataSpec, *, test: int = 4) -> dict[str, Any]:
    marks = {"images": [9, 9], "marks": ["1", "2"]}
    return {
        "digest": data.digest,
        "line": f"data {data.name}: 2 classes <b>",
        "size": "3x8x8",
        "classes": ["ant", "bee"],
        "splits": {"training": marks, "test": {"images": [test, 4], "marks": [f"3{test}", "4"]}},
    }


def test_moved_images_continue_under_their_first_name(tmp_path):
    open_folder(tmp_path, record_of(HERE), account=account_of(HERE))
    for place in ("folder:/there", "folder:/elsewhere"):
        moved = replace(HERE, name=place)
        open_folder(tmp_path, record_of(moved), account=account_of(moved))
        assert read_experiment_record(tmp_path)["data"]["name"] == place
        assert data_name(tmp_path, place) == read_account(tmp_path)["known_as"] == "folder:/here"
        assert line_of(tmp_path) == f"data {place}: 2 classes <b>"


def test_moved_images_continue_in_a_folder_of_an_earlier_version(tmp_path):
    open_folder(tmp_path, record_of(HERE))
    assert not (tmp_path / "data.json").exists()
    assert data_name(tmp_path, "folder:/there") == "folder:/here"
    moved = replace(HERE, name="folder:/there")
    open_folder(tmp_path, record_of(moved), account=account_of(moved))
    assert data_name(tmp_path, "folder:/there") == "folder:/here"


def test_changed_images_are_told_in_words(tmp_path):
    open_folder(tmp_path, record_of(HERE), account=account_of(HERE))
    other = replace(HERE, name="folder:/there", digest="bb")
    with pytest.raises(ResultError, match=r"have changed: class 'ant' had 4 test images and has 5; bring them back"):
        check_folder(tmp_path, record_of(other), account=account_of(other, test=5))
    (tmp_path / "data.json").write_text("{")
    with pytest.raises(ResultError, match=r"have changed: images or labels are others, .* is not on record; bring"):
        check_folder(tmp_path, record_of(other), account=account_of(other, test=5))
    assert read_experiment_record(tmp_path) == record_of(HERE)


def test_another_division_is_told_by_its_option(tmp_path):
    open_folder(tmp_path, record_of(HERE), account=account_of(HERE))
    other = replace(HERE, validation=0.5, digest="bb")
    with pytest.raises(ResultError, match=r"its data\.validation is 0\.1, here it is 0\.5"):
        check_folder(tmp_path, record_of(other), account=account_of(other))


def test_images_without_a_digest_are_known_by_their_name(tmp_path):
    open_folder(tmp_path, record_of(DataSpec(name="digits")))
    with pytest.raises(ResultError, match=r'its data\.name is "digits", here it is "cifar10"'):
        check_folder(tmp_path, record_of(DataSpec(name="cifar10")))


def test_the_page_has_the_line_and_shows_its_signs_as_they_are(tmp_path):
    open_folder(tmp_path / "one", record_of(HERE), account=account_of(HERE))
    ResultTable(tmp_path / "one").append(row(), [])
    page = write_page(tmp_path / "one", tmp_path / "page.html").read_text(encoding="utf-8")
    assert "data folder:/here: 2 classes &lt;b&gt;" in page
