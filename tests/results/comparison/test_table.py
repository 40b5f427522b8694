"""What a comparison of methods says to people: sentences, tables, plots, its page and its report."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest
from rich.console import Console

from automl_kd.console.report import report
from automl_kd.results import ResultTable
from automl_kd.results.comparison.comparison import comparison, comparison_of
from automl_kd.results.comparison.plots import accuracy_over_cost, plot_accuracies
from automl_kd.results.comparison.sentences import comparison_sentences, reading
from automl_kd.results.comparison.table import (
    attempt_sheet,
    comparison_markdown,
    result_sheet,
    side_by_side_sheet,
    stage_sheet,
    training_effort_sheet,
)
from automl_kd.results.report.page import write_page
from automl_kd.results.report.plots import learning_curves
from tests.results.synthetic import (
    CONTEST,
    FIELD,
    contest_choice,
    contest_finals,
    curve,
    write_contest,
    write_experiment,
)

KD = {0: 0.90, 1: 0.91, 2: 0.92}
NASTY = "</text><script>alert('x')</script> $x^{2 & <b>"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results") / "methods"
    folder.mkdir()
    return write_contest(folder).folder


@pytest.fixture(scope="module")
def judged(whole):
    return comparison_of(whole, ResultTable(whole).read())


def small(folder, *groups, contenders=CONTEST["methods"]):
    table = ResultTable(folder)
    for group in groups:
        for one in group:
            table.append(one, curve(0.5, 2))
    record = {"name": "methods", "comparison": {"reference": "kd", "methods": contenders}}
    (folder / "experiment.json").write_text(json.dumps(record))
    return comparison(table.read(), record)


def test_the_sentence_names_every_finding(tmp_path):
    # The p-values are worked out in test_contest: helped and worse at the adjusted level.
    scratch = contest_finals("scratch", {0: 0.85, 1: 0.87, 2: 0.89}, method="scratch")
    dkd = contest_finals("dkd", {0: 0.911, 1: 0.92, 2: 0.929}, train_macs=1.2e12)
    one = small(tmp_path, contest_finals("kd", KD), dkd, scratch)
    assert comparison_sentences(one) == [
        "At full compute, against KD, tuned (91.00 % on test), 1 method helped: DKD (+1.00, with 1.20 times the "
        "compute). Worse: scratch (-4.00). Scratch reaches 87.00 %, place 3 of 3 by validation accuracy."
    ]
    power, origin = reading(one)
    # Half widths: 4.3027 s / sqrt 3 for s = 0.001 and 0.01: 0.248 and 2.484 points, the median between them 1.366.
    # For two comparisons t(0.9875; 2) = 6.2053: 0.358 and 3.583 points, the median 1.970.
    assert "0.05 after Holm's adjustment for 2 comparisons. With 3 seeds such a test can miss" in power
    assert "differences under 1.37 points" in power
    assert "after the adjustment those under 1.97" in power
    assert origin.startswith("Means over 3 seeds")


def test_the_sentence_says_what_it_cannot_say(tmp_path):
    one = small(tmp_path, contest_finals("kd", {0: 0.9}), contest_finals("dkd", {0: 0.9}, 0.25))
    assert comparison_sentences(one) == [
        "At full compute, against KD, tuned (90.00 % on test), no other method was trained.",
        "At 25 % of the compute there is no finding: KD, tuned was not completed there.",
        "Without a complete final training so far: scratch.",
    ]
    assert len(reading(one)) == 1  # no test was made, so there is nothing that it could miss
    alone = small(tmp_path, contest_finals("dkd", {0: 0.95}))
    assert (
        "Not known, as one seed cannot separate a difference from chance: DKD (+5.00)."
        in comparison_sentences(alone)[0]
    )


def test_readings_side_by_side_name_what_is_compared_with_what(tmp_path):
    def serving(rows, mark, *names):
        text = json.dumps(dict.fromkeys(names, 1.0))
        return [dataclasses.replace(one, readings_json=text, key=f"{one.key}{mark}") for one in rows]

    longer = contest_finals("scratch", {0: 0.93, 1: 0.94, 2: 0.95}, method="scratch")
    shorter = contest_finals("scratch", {0: 0.87, 1: 0.88, 2: 0.89}, method="scratch")
    judged = small(
        tmp_path,
        serving(contest_finals("kd", KD), "k", "compute", "epochs"),
        serving(longer, "c", "compute"),
        serving(shorter, "e", "epochs"),
    )
    sheet = side_by_side_sheet(judged)
    assert sheet is not None
    assert sheet.columns[0].name == "method, over KD, tuned"
    assert [cell.split(" ")[0] for cell in sheet.rows[0]] == ["scratch", "+3.00", "-3.00"]
    assert any(
        "The readings disagree, by intervals that are not adjusted for the number of methods: scratch over KD, tuned: "
        "better at equal compute (+3.00), worse at equal epochs (-3.00)." in text
        for text in reading(judged)
    )


def test_findings_without_the_adjustment_are_told_apart(judged):
    near = [one.title for one in judged.entries if one.p < 0.05 <= one.p_holm]
    assert near  # the rows were made so
    told = reading(judged)[0].split("Without the adjustment")[1]
    assert all(title in told for title in near)


def test_tables_by_hand(tmp_path):
    choice = contest_choice("dkd", {'{"beta": 1.0}': 0.8, '{"beta": 2.0}': 0.9}, train_macs=5e11)
    dkd = contest_finals("dkd", {0: 0.911, 1: 0.92, 2: 0.929}, options_json='{"beta": 2.0}', train_macs=1.2e12)
    one = small(tmp_path, contest_finals("kd", KD), dkd, choice)
    # A pass of the student on one image is 1e6 multiply-adds, as the record does not say how many images there are.
    # t(0.975; 2) = 4.3027: 0.9 points spread over sqrt 3 is 2.24 points, 1 point 2.48, 0.1 points 0.25.
    assert [column.name for column in result_sheet(one).columns] == [
        *("method", "test, %", "validation, %", "difference, points", "p", "p, adjusted"),
        *("finding", "cost", "training"),
    ]
    assert result_sheet(one).rows == (
        (
            *("DKD", "92.00 ± 2.24", "93.00", "+1.00 ± 0.25", "0.003", "0.003"),
            *("helped; had 1.20 times the compute", "1.20 M", "20 s"),
        ),
        ("KD, tuned", "91.00 ± 2.48", "92.00", "–", "–", "–", "reference", "1.00 M", "20 s"),
    )
    assert training_effort_sheet(one).rows == (
        ("DKD", "40", "2", "1.00 M", "0", "beta=2", "10.0 k", "depth=1"),
        ("KD, tuned", "40", "–", "–", "0", "–", "10.0 k", "depth=1"),
    )
    assert attempt_sheet(one).rows == (
        ("DKD", "beta=2", "90.00", "1", "0", "yes"),
        ("DKD", "beta=1", "80.00", "1", "0", ""),
    )
    assert stage_sheet(one).rows == (
        ("choice of options", "2", "40 s", "1.00 T", "1.00 M"),
        ("finals", "6", "2 min 0 s", "6.60 T", "6.60 M"),
    )


def test_every_entry_has_a_line_and_every_contender_a_training(judged):
    assert len(result_sheet(judged).rows) == 22
    assert len(training_effort_sheet(judged).rows) == len(FIELD)
    text = comparison_markdown(judged)
    assert all(f"| {title} |" in text for _, title, *_ in FIELD)
    assert text.index("At full compute") < text.index("| method |") < text.index("What was tried")


def test_plots_show_what_is_there(whole, judged, tmp_path):
    drawn, costs = str(plot_accuracies(judged)), str(accuracy_over_cost(judged))
    for _, title, *_ in FIELD:
        assert title in drawn
    assert "DistPro, searched and replayed" in costs
    assert "LKD, joint" not in costs  # one share of the compute only
    assert not re.search(r"#0[1-8]0[1-8]0[1-8]", drawn + costs)
    table = ResultTable(whole)
    assert learning_curves(table.read(), table.curves()) is None
    lone = small(tmp_path, contest_finals("kd", {0: 0.9}))
    assert plot_accuracies(lone) is not None
    assert accuracy_over_cost(lone) is None
    assert plot_accuracies(small(tmp_path, contest_finals("kd", {0: 0.9}, status="failed"))) is None


def test_the_page_says_it_in_order(whole):
    text = write_page(whole, whole / "page.html").read_text()
    headings = ["At full compute", "<h2>Methods", "<h2>Training", "<h2>Options tried", "<h2>Cost"]
    places = [text.index(heading) for heading in [*headings, "<h2>Failed trials", "<h2>Reproducibility"]]
    assert places == sorted(places)
    assert text.count("<svg") == 2
    assert "No verdict" not in text
    assert "Leaderboard</h2>" not in text
    assert "final (depth=1, prokt, seed 2" in text
    assert "nan</td>" not in text


def test_titles_are_escaped_everywhere(tmp_path):
    line_up = [{"name": "kd", "title": NASTY, "method": "kd"}]
    folder = tmp_path / "x"
    folder.mkdir()
    small(folder, contest_finals("kd", KD), contest_finals("kd", KD, 0.5), contenders=line_up)
    text = write_page(folder, tmp_path / "page.html").read_text()
    assert text.count("<svg") == 2
    assert "<script" not in text
    assert "$x^{2" in text


def test_a_contest_without_finals_is_shown_as_far_as_it_is(tmp_path):
    folder = tmp_path / "x"
    folder.mkdir()
    small(folder, contest_choice("kd", {'{"t": 1.0}': 0.8}))
    text = write_page(folder, tmp_path / "page.html").read_text()
    assert "Without a complete final training so far: scratch; KD, tuned; DKD." in text


def test_report_prints_the_table_and_says_whether_all_took_part(whole, tmp_path, capsys):
    console = Console(width=100)
    assert report(console, [whole], tmp_path / "out", "automl-kd leaderboard methods")
    out = " ".join(capsys.readouterr().out.split())
    assert "methods: methods compared" in out
    assert "At full compute, against KD, tuned" in out
    text = (tmp_path / "out" / "leaderboard.md").read_text()
    assert text.startswith("<!-- made by: automl-kd leaderboard methods -->\n\nAt full compute")
    assert text.endswith("the loss became nan\n")
    folder = tmp_path / "young"
    folder.mkdir()
    small(folder, contest_finals("kd", KD))
    assert not report(console, [folder], tmp_path / "out", "x")


@pytest.mark.slow
def test_a_search_and_a_contest_in_one_report(whole, tmp_path):
    search = tmp_path / "tiny"
    search.mkdir()
    write_experiment(search)
    assert report(Console(width=100), [search, whole], tmp_path / "out", "x")
    text = (tmp_path / "out" / "leaderboard.md").read_text()
    assert text.count("## Trial kind: final") == 1
    assert "prokt" not in text.split("At full compute")[0]
    assert "Gained 1.93 points" in text
