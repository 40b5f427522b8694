"""The page stands alone, escapes what rows say, and shows whatever there is."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser

import pytest
from rich.console import Console

from automl_kd.console.report import report
from automl_kd.errors import ResultError
from automl_kd.results import ResultTable, units
from automl_kd.results.report.overview import GAIN_WORDS, line_of_difference
from automl_kd.results.report.page import write_page
from automl_kd.results.report.plots import accuracy_against_params, learning_curves, legend_columns
from automl_kd.results.statistics.interval import Estimate
from automl_kd.results.store.scores import write_scores
from automl_kd.results.verdict.arms import COMPARISONS
from automl_kd.results.verdict.gain import judge_search
from tests.results.distilled import trainings, write_distillation
from tests.results.synthetic import curve, four_arms, row, score, write_experiment

NASTY = "</li><script>alert('x')</script> <img src=http://evil.example/x.png>"


class Tags(HTMLParser):
    """Tags in order, and every attribute that could load something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [value for name, value in attrs if name in {"src", "href", "xlink:href", "srcset", "data"}]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results") / "digits-tiny"
    folder.mkdir()
    write_experiment(folder)
    write_scores(folder, [score("synflow", number, float(number)) for number in range(1, 41)])
    return folder


@pytest.fixture(scope="module")
def text(whole):
    return write_page(whole, whole / "leaderboard.html", command="automl-kd leaderboard x").read_text()


def test_needs_no_network(text):
    parsed = Tags(text)
    assert all(load.startswith("#") for load in parsed.loads)
    assert not {"link", "script", "iframe", "img"} & set(parsed.tags)
    assert not re.search(r"@import|url\((?!#)", text)


def test_verdict_comes_first_and_every_section_follows(text):
    headings = [
        "Gained 1.93 points",
        "<h2>Baseline comparison",
        "<h2>Trials",
        "<h2>Leaderboard",
        "<h2>Cost",
        "<h2>Proxy filter",
    ]
    headings += ["<h2>Failed trials", "<h2>Reproducibility"]
    places = [text.index(heading) for heading in headings]
    assert places == sorted(places)
    assert text.index("<h1>digits-tiny</h1>") < places[0]


@pytest.mark.parametrize(
    ("metric", "words"),
    [("macro_f1", "macro F1"), ("r2", "R², the share of the variance that is explained"), ("accuracy", ""), (None, "")],
)
def test_what_is_not_accuracy_is_named(tmp_path, capsys, metric, words):
    table = ResultTable(tmp_path)
    for number in range(2):
        table.append(row(key=f"{number:016}", seed=number, metric=metric), [])
    report(Console(width=200), [tmp_path], tmp_path, "made here")
    sentence = f"What is called accuracy here is {words}, in hundredths."
    for text in (capsys.readouterr().out, *((tmp_path / f"leaderboard.{one}").read_text() for one in ("html", "md"))):
        assert (sentence in text) is bool(words)
        assert ("is called accuracy" in text) is bool(words)


def test_says_what_happened(text):
    assert "digits · 29 trials: 23 complete, 4 stopped, 2 failed" in text
    assert "search trial 6 (depth=6, kd, seed 0" in text
    assert "the loss became nan in epoch 3; lower lr" in text
    assert "95.20 ± 0.90" in text
    assert "torch 2.15.0" in text
    assert "automl-kd leaderboard x" in text


def test_has_both_plots_in_the_colours_of_the_page(text):
    assert Tags(text).tags.count("svg") == 2
    for role in ("default-scratch", "default-kd", "found-scratch", "found-method"):
        assert text.count(f"var(--{role})") > 2
    assert not re.search(r"#0[1-8]0[1-8]0[1-8]", text)


def test_the_same_results_make_the_same_page(whole, text):
    again = write_page(whole, whole / "again.html", command="automl-kd leaderboard x").read_text()
    assert again == text


def test_what_rows_say_is_escaped(tmp_path):
    table = ResultTable(tmp_path / "x")
    table.append(row(key="1", status="failed", error=NASTY, student=NASTY, device=NASTY))
    table.append(row(key="2", student=NASTY), curve(0.5, 3))
    parsed = Tags(text := write_page(tmp_path / "x", tmp_path / "page.html").read_text())
    assert "script" not in parsed.tags
    assert "img" not in parsed.tags
    assert text.count("&lt;script&gt;") == 4


@pytest.mark.parametrize(
    "rows",
    [
        [row()],
        [row(status="failed", val_accuracy=None, test_accuracy=None, params=None, error=None)],
        [row(status="stopped", test_accuracy=None, started=None, versions_json=None, seconds=None, train_macs=None)],
        [row(trial_kind="teacher", role="teacher")],
        four_arms({0: 0.9}, {0: 0.8})[:2],
        [row(params=None, device=None)],
    ],
)
def test_shows_what_there_is(tmp_path, rows):
    for one in rows:
        ResultTable(tmp_path / "x").append(one)
    text = write_page(tmp_path / "x", tmp_path / "page.html").read_text()
    assert "No verdict" in text
    assert "nan" not in text
    assert "&lt;NA&gt;" not in text


def test_nothing_to_draw_is_no_plot(tmp_path):
    table = ResultTable(tmp_path)
    table.append(row(params=None))
    rows = table.read()
    assert accuracy_against_params(rows, judge_search(rows).arms, rows) is None
    assert learning_curves(rows, table.curves()) is None


def test_several_experiments_on_one_page(tmp_path):
    for name in ("one", "two"):
        ResultTable(tmp_path / name).append(row(experiment=name), curve(0.5, 2))
    text = write_page(tmp_path, tmp_path / "page.html").read_text()
    assert text.count("<h1>") == 3
    assert "<title>2 experiments" in text
    assert '<a href="#experiment-2">two</a>' in text
    assert text.count("no difference is known yet") == 2
    assert '<article id="experiment-2">' in text


def test_an_overview_has_a_line_for_each_question(tmp_path):
    for name in ("one", "two"):
        folder = tmp_path / "deeper" / name
        folder.mkdir(parents=True)
        write_experiment(folder)
    text = write_page(tmp_path, tmp_path / "page.html", command="automl-kd leaderboard x").read_text()
    overview = text[: text.index("<article")]
    for words in ("found student and method over default student with plain KD", "over training from scratch"):
        assert overview.count(words) == 2
    assert re.search(r"<td[^>]*>better</td>|<td[^>]*>not shown</td>", overview)


def test_an_interval_decides_what_is_found():
    wide, good, bad = (Estimate(3, mean, 0.01, half) for mean, half in ((0.01, 0.02), (0.03, 0.01), (-0.03, 0.01)))
    assert [line_of_difference("", one).finding for one in (wide, good, bad)] == ["not shown", "better", "worse"]
    alone = line_of_difference("", Estimate(1, 0.01, math.nan, math.nan))
    assert (alone.finding, alone.interval) == ("no interval", units.MISSING)


def test_mistakes_are_sentences_and_leave_no_page(tmp_path):
    with pytest.raises(ResultError, match="there is no folder"):
        write_page(tmp_path / "nowhere", tmp_path / "page.html")
    ResultTable(tmp_path / "x").append(row())
    (tmp_path / "x" / "experiment.json").write_text("{")
    with pytest.raises(ResultError, match=r"experiment\.json"):
        write_page(tmp_path / "x", tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_a_legend_has_as_many_columns_as_its_labels_leave_room_for():
    assert legend_columns(["search trial", "found student, its method", "default student, plain KD"]) == 2
    wide = ["Pareto front of the search, on validation", "found student, its method, fresh weights"]
    assert legend_columns(wide) == 1
    assert legend_columns([]) == 2


def test_every_gain_of_a_verdict_has_words():
    assert set(GAIN_WORDS) == set(COMPARISONS)


def test_an_overview_of_distillations_tells_of_no_search(tmp_path):
    write_distillation(tmp_path / "kd", trainings(None))
    write_distillation(tmp_path / "method", trainings())
    text = write_page(tmp_path, tmp_path / "page.html").read_text()
    lines = re.findall(r"<tr>.*?</tr>", text[: text.index("<article")], flags=re.DOTALL)
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", one, flags=re.DOTALL) for one in lines]
    told = [[re.sub(r"<[^>]+>", "", cell).strip() for cell in one] for one in cells if one]
    found = [next(cell for cell in one if " over " in cell) for one in told]
    assert found == [
        "plain KD (temperature=4) over training from scratch",
        "weighted_losses (losses=dkd=1) over plain KD (temperature=4)",
        "weighted_losses (losses=dkd=1) over training from scratch",
        "plain KD (temperature=4) over training from scratch",
    ]
    assert "search:" not in text[: text.index("<article")]
