"""Figures that are not ours: published ones stand in a column of their own, those of a stand-in nowhere."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from automl_kd.api.result import Result
from automl_kd.console.report import report
from automl_kd.results import ResultTable
from automl_kd.results.comparison.comparison import comparison
from automl_kd.results.comparison.table import result_sheet
from automl_kd.results.published import published_of
from automl_kd.results.report.leaderboard import rank_results
from automl_kd.results.report.page import write_page
from tests.results.synthetic import row, write_contest, write_experiment

FIGURES = [
    {"title": "KD, T = 1", "accuracy": 71.03, "source": "one table", "method": "kd", "option": ""},
    {"title": "KD, T = 4", "accuracy": 71.2, "source": "another", "method": "kd", "option": ""},
    {"title": "DKD", "accuracy": 71.7, "source": "one table", "method": "losses", "option": "dkd"},
    {"title": "the teacher", "accuracy": 73.31, "source": "torchvision", "method": "", "option": ""},
]


def with_record(folder, **changes):
    record = json.loads((folder / "experiment.json").read_text())
    (folder / "experiment.json").write_text(json.dumps({**record, **changes}))
    return folder


def test_from_the_lowest_to_the_highest_with_the_same_options():
    assert published_of(FIGURES, "kd", "{}") == "71.03 to 71.20"
    assert published_of(FIGURES, "losses", '{"losses": "dkd=1, dkd.beta=0.5"}') == "71.70"
    assert published_of(FIGURES, "losses", '{"losses": "dist"}') == "–"
    assert published_of([], "kd", "{}") == "–"


def test_a_comparison_shows_them_in_a_column_of_their_own(tmp_path):
    folder = with_record(write_contest(tmp_path / "methods").folder, published=FIGURES)
    judged = comparison(ResultTable(folder).read(), json.loads((folder / "experiment.json").read_text()))
    sheet = result_sheet(judged)
    assert sheet.columns[-1].name == "published, %"
    found = {(row[0], row[1]): row[-1] for row in sheet.rows}
    assert found["KD, tuned", "100 %"] == "71.03 to 71.20"
    assert {value for (title, share), value in found.items() if title != "KD, tuned" or share != "100 %"} == {"–"}
    page = write_page(folder, tmp_path / "page.html").read_text()
    assert page.count("Published figures") == 1
    assert all(str(one["source"]) in page for one in FIGURES)
    report(Console(file=None, quiet=True), [folder], tmp_path, "made here")
    assert "| the teacher | 73.31 | torchvision |" in (tmp_path / "leaderboard.md").read_text()


def test_without_any_there_is_no_column(tmp_path):
    folder = write_contest(tmp_path / "methods").folder
    judged = comparison(ResultTable(folder).read(), json.loads((folder / "experiment.json").read_text()))
    assert "published, %" not in [column.name for column in result_sheet(judged).columns]
    assert "Published figures" not in write_page(folder, tmp_path / "page.html").read_text()


@pytest.mark.parametrize("write", [write_experiment, write_contest])
def test_no_leaderboard_shows_a_stand_in(tmp_path, capsys, write):
    full = {"images": 1_281_167, "resolution": 224, "epochs": 100}
    known = write(tmp_path / "plain").folder
    rows = ResultTable(known).read()
    accuracies = {f"{100 * one:.2f}" for one in rows["test_accuracy"].dropna()}
    shown = write_page(known, tmp_path / "plain.html").read_text()
    assert any(one in shown for one in accuracies)
    folder = with_record(known, stand_in=full, data={"train_images": 200, "resolution": 64}, recipe={"epochs": 1})
    assert report(Console(width=100), [folder], folder, "made here")
    sentence = "A stand-in: 200 images at 64 pixels in place of 1,281,167 at 224 pixels, and 1 epoch in place of 100."
    texts = [" ".join(capsys.readouterr().out.split())]
    texts += [(folder / f"leaderboard.{kind}").read_text() for kind in ("html", "md")]
    for text in texts:
        assert sentence in text
        assert not any(one in text for one in accuracies)


def test_in_python_a_stand_in_has_no_numbers_either(tmp_path):
    folder = write_experiment(tmp_path / "plain").folder
    assert Result(folder).verdict.numbers
    with_record(folder, stand_in={"images": 1000, "epochs": 9}, data={"train_images": 200, "resolution": 64})
    tried = Result(folder)
    assert tried.verdict.sentence.startswith("A stand-in: 200 images at 64 pixels in place of 1,000, and ")
    assert not tried.verdict.numbers
    assert "<td>" not in tried._repr_html_()


def test_rows_of_a_stand_in_are_not_ranked(tmp_path):
    table = ResultTable(tmp_path)
    for one in (row(stand_in=False), row(key="b" * 16), row(key="c" * 16, student="depth=2", stand_in=True)):
        table.append(one)
    board = rank_results(table.read())
    assert list(board["seeds"]) == [2]  # written by this version, and by one that knew no stand-ins
