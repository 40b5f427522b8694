"""The files of an answer: the page needs no network and escapes; tables say the same as the answer."""

from __future__ import annotations

import csv
import dataclasses
import json
import re

import pytest

from automl_kd.errors import ResultError
from automl_kd.results.archive.archive import read_student_archive
from automl_kd.results.archive.choice import choose_student
from automl_kd.results.archive.limits import Limits
from automl_kd.results.archive.page import write_front
from automl_kd.results.archive.tables import choice_record
from tests.results.archive.made import final, proxies, trial, two_finals, write_archive

STRANGE = '<b onload="x">&'


@pytest.fixture
def choice(tmp_path):
    trials = [
        *two_finals(),
        final("m0", "3" * 12, 0.81, 5_000, student=STRANGE),
        trial("s1", "4" * 12, 0.3, 400_000, status="stopped", epochs_done=1),
    ]
    archive = read_student_archive([write_archive(tmp_path / "a", trials, proxies(1, 1, 1))])
    return choose_student(archive, Limits(params=20_000, macs=3 * 10**6))


def test_the_page_holds_all_and_loads_nothing(choice, tmp_path):
    write_front(choice, tmp_path / "out", "automl-kd pick a --max-params 20k")
    page = (tmp_path / "out" / "front.html").read_text()
    assert re.findall(r'(?:src|href)="(?!#)[^"]*', page) == []
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"|http://www.w3.org/[^"]*', "", page)
    assert "@media (prefers-color-scheme: dark)" in page
    assert 'name="viewport" content="width=device-width' in page
    assert page.count("<svg") == 2  # one for each limited cost
    for words in ("limit, 20.0 k parameters", "limit, 3.00 M MACs", "plain student", "shorter training", "smallest"):
        assert words in page
    assert "#0" not in "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))  # colours are the page's
    assert STRANGE not in page
    assert "&lt;b onload" in page
    assert "Made by <code>automl-kd pick a --max-params 20k</code>" in page


def test_markdown_and_csv_say_the_same(choice, tmp_path):
    paths = write_front(choice, tmp_path / "out", "automl-kd pick a")
    assert [path.name for path in paths] == ["front.csv", "front.md", "front.html"]
    text = (tmp_path / "out" / "front.md").read_text()
    assert text.startswith("<!-- made by: automl-kd pick a -->\n\n# tiny\n\nWith at most 20.0 k parameters and at most")
    assert STRANGE not in text
    assert "| best | ffffffffffff | kd | 82.00 ± 2.77 | 2 | 10 | 10.0 k | 1.00 M | – | 0.04 | 79.00 |" in text
    lines = list(csv.DictReader((tmp_path / "out" / "front.csv").read_text().splitlines()))
    assert [(one["architecture_id"], one["best"], one["smallest_within_one_error"]) for one in lines] == [
        ("f" * 12, "True", "False"),
        ("3" * 12, "False", "True"),
        ("d" * 12, "False", "False"),
    ]
    assert float(lines[0]["val_accuracy"]) == pytest.approx(0.82)
    assert lines[0]["keys"] == "f1 f0"


def test_the_record_is_json_and_has_what_was_chosen(choice):
    record = json.loads(json.dumps(choice_record(choice, 1)))
    assert record["limits"] == {"params": 20_000, "macs": 3_000_000}
    assert record["best"]["architecture_id"] == "f" * 12
    assert record["smallest_within_one_error"]["architecture_id"] == "3" * 12
    assert [one["architecture_id"] for one in record["front"]] == ["3" * 12, "f" * 12]
    assert len(record["students"]) == 1
    assert (record["trained"], record["scored"]) == (4, 1)


def test_a_cost_that_no_student_has_gets_no_figure(tmp_path):
    archive = read_student_archive(
        [write_archive(tmp_path / "a", [dataclasses.replace(one, params=None, macs=None) for one in two_finals()])]
    )
    write_front(choose_student(archive, Limits()), tmp_path / "out", "")
    page = (tmp_path / "out" / "front.html").read_text()
    assert "<svg" not in page
    assert "Accuracy against cost" not in page


def test_students_that_only_proxies_know_make_a_page_too(tmp_path):
    archive = read_student_archive([write_archive(tmp_path / "a", [], proxies(1, 1, 1))])
    write_front(choose_student(archive, Limits(params=2000)), tmp_path / "out", "")
    assert "scored ones have" in (tmp_path / "out" / "front.html").read_text()
    assert (tmp_path / "out" / "front.csv").read_text() == "architecture_id\n"


def test_a_file_in_the_way_is_left_alone(choice, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ResultError, match="out is not a folder, and the front should go there; give another --out"):
        write_front(choice, tmp_path / "out", "")
    assert (tmp_path / "out").read_text() == "mine"
