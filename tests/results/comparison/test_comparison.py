"""The comparison of methods, by hand on few rows."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automl_kd.errors import ResultError
from automl_kd.results import ResultTable
from automl_kd.results.comparison.comparison import comparison, comparison_of, is_comparison
from automl_kd.results.report.leaderboard import rank_results, to_sheet
from automl_kd.results.store.parquet import to_frame, to_table
from automl_kd.results.store.row import ROW_SCHEMA
from tests.results.synthetic import CONTEST, contest_choice, contest_finals, finals, row

RECORD = {"name": "methods", "data": {"train_images": 50_000}, "comparison": CONTEST}
KD = {0: 0.90, 1: 0.91, 2: 0.92}


@pytest.fixture
def judge(tmp_path):
    def judge(*groups, record=RECORD, **options):
        table = ResultTable(tmp_path)
        for group in groups:
            for one in group:
                table.append(one)
        return comparison(table.read(), record, **options)

    return judge


def by_title(judged):
    return {one.title: one for one in judged.entries}


def test_differences_and_findings_by_hand(judge):
    # DKD less KD: 0.011, 0.010, 0.009: mean 0.01, s = 0.001, t = 10 sqrt 3 = 17.32, two degrees of freedom, where
    # p = 1 - t / sqrt(2 + t^2) = 0.003317. Scratch less KD: -0.05, -0.04, -0.03: t = -4 sqrt 3, p = 0.020204.
    # Holm for two tests: 2 * 0.003317 = 0.006633, and 0.020204.
    judged = judge(
        contest_finals("kd", KD),
        contest_finals("dkd", {0: 0.911, 1: 0.92, 2: 0.929}),
        contest_finals("scratch", {0: 0.85, 1: 0.87, 2: 0.89}, method="scratch"),
    )
    found = by_title(judged)
    dkd, scratch, kd = found["DKD"], found["scratch"], found["KD, tuned"]
    assert dkd.difference[:3] == pytest.approx((3, 0.01, 0.001))
    assert (dkd.p, dkd.p_holm) == pytest.approx((0.0033168, 0.0066335), rel=1e-4)
    assert (scratch.p, scratch.p_holm) == pytest.approx((0.0202041, 0.0202041), rel=1e-4)
    assert [one.finding for one in (dkd, scratch, kd)] == ["helped", "worse", "reference"]
    assert [one.title for one in judged.entries] == ["DKD", "KD, tuned", "scratch"]
    assert kd.difference.n == 0
    assert math.isnan(kd.p)


def test_the_adjustment_counts_every_comparison(judge):
    # Differences 0.03, 0.04, 0.05 have p = 0.0202 alone; beside three others of the same they are no finding.
    same = {seed: value + 0.03 + 0.01 * seed for seed, value in KD.items()}
    sets = [contest_finals("dkd", same, mark=f"m{place}", options_json=f'{{"beta": {place}}}') for place in range(4)]
    judged = judge(contest_finals("kd", KD), *sets)
    ours = [one for one in judged.entries if one.compared_method.name == "dkd"]
    assert [one.title for one in ours] == [f"DKD (beta={place})" for place in range(4)]
    for one in ours:
        assert (one.p, one.p_holm) == pytest.approx((0.0202041, 0.0808164), rel=1e-4)
        assert one.finding == "no difference shown"
        assert one.difference.low > 0  # the interval of its own is kept


def test_each_share_of_the_compute_has_its_own_reference(judge):
    judged = judge(
        contest_finals("kd", KD),
        contest_finals("kd", {seed: value - 0.1 for seed, value in KD.items()}, 0.25),
        contest_finals("dkd", {0: 0.82, 1: 0.82, 2: 0.85}, 0.25),
        contest_finals("dkd", {0: 0.8, 1: 0.8, 2: 0.8}, 0.1),
    )
    assert judged.fractions == [1.0, 0.25, 0.1]
    quarter, tenth = (next(one for one in judged.at(x) if one.compared_method.name == "dkd") for x in (0.25, 0.1))
    assert quarter.difference.mean == pytest.approx((0.02 + 0.01 + 0.03) / 3)
    assert (tenth.finding, tenth.reason) == ("not known", "KD, tuned was not completed at this compute")


def test_of_several_references_the_best_on_validation_is_one_and_the_others_are_compared(judge):
    weak = contest_finals("kd", {0: 0.95, 1: 0.96, 2: 0.95}, mark="w", options_json='{"t": 2.0}', val_accuracy=0.8)
    strong = contest_finals("kd", KD, options_json='{"t": 4.0}', val_accuracy=0.9)
    found = by_title(judge(weak, strong))
    assert found["KD, tuned (t=4)"].finding == "reference"
    assert found["KD, tuned (t=2)"].difference.mean == pytest.approx((0.05 + 0.05 + 0.03) / 3)


@pytest.mark.parametrize(
    ("theirs", "changes", "reason"),
    [
        ({0: 0.92}, {}, "one seed cannot separate a difference from chance"),
        ({7: 0.92}, {}, "no seed was completed by both"),
        ({seed: value + 0.01 for seed, value in KD.items()}, {}, "the difference is the same in every seed"),
        (KD, {}, "no seed shows any difference"),
        (KD, {"status": "failed"}, "no seed was completed"),
    ],
)
def test_why_nothing_can_be_said(judge, theirs, changes, reason):
    dkd = by_title(judge(contest_finals("kd", KD), contest_finals("dkd", theirs, **changes)))["DKD"]
    assert (dkd.finding, dkd.reason) == ("not known", reason)
    assert math.isnan(dkd.p_holm)


def test_costs_in_passes_over_the_training_set(judge):
    # 1e12 multiply-adds a training; a pass is 1e6 for an image, 50,000 images: 1e12 / 5e10 = 20.
    # Four combinations of the choice, one of them failed, took 5e10 each: four passes in all.
    choice = contest_choice("dkd", {f'{{"beta": {x}}}': 0.8 for x in range(3)}, train_macs=5e10)
    choice += contest_choice("dkd", {'{"beta": 9}': 0.0}, train_macs=5e10, status="failed", seed=3)[:1]
    lost = {**choice[-1].__dict__, "key": "other"}
    judged = judge(
        contest_finals("kd", KD),
        contest_finals("dkd", KD, macs=2_000_000, train_macs=1.06e12, seconds=30.0, options_json='{"beta": 1}'),
        choice[:3],
        [type(choice[0])(**lost)],
    )
    dkd, kd = by_title(judged)["DKD"], by_title(judged)["KD, tuned"]
    assert judged.unit.name == "forward passes of the student over the training set"
    assert (kd.cost, dkd.cost, dkd.extra) == pytest.approx((20, 21.2, 1.06))
    assert (dkd.unequal, kd.unequal) == (True, False)
    assert (dkd.tried, dkd.choice_cost, dkd.seconds) == (4, pytest.approx(4.0), 30.0)
    assert (kd.tried, kd.choice_cost) == (0, 0.0)
    assert [(one.options_json, one.chosen, one.lost) for one in judged.attempts] == [
        ('{"beta": 0}', False, 0),
        ('{"beta": 1}', True, 0),
        ('{"beta": 2}', False, 0),
        ('{"beta": 9}', False, 1),
    ]
    assert [(one.stage, one.trials) for one in judged.costs] == [("choice", 4), ("final", 6)]


def test_other_units_where_the_images_or_the_student_are_not_known(judge):
    passes = judge(contest_finals("kd", KD), record={**RECORD, "data": {"train_images": 0}})
    assert passes.unit == ("forward passes of the student on one example", 1e6)
    assert judge(contest_finals("kd", KD, macs=None)).unit == ("multiply-adds", 1.0)


def test_failed_and_missing(judge):
    rows = contest_finals("dkd", {0: 0.9, 1: 0.9}) + contest_finals("dkd", {2: 0.1}, status="failed")
    judged = judge(
        contest_finals("kd", KD), rows, [row(trial_kind="teacher", role="teacher", key="t", experiment="methods")]
    )
    dkd = by_title(judged)["DKD"]
    assert (dkd.failed, dkd.test.n, dkd.accuracy) == (1, 2, {0: 0.9, 1: 0.9})
    assert [one.name for one in judged.missing] == ["scratch"]
    assert judged.teachers == (("depth=1", 0.88),)


def test_the_other_metric(judge):
    judged = judge(contest_finals("kd", KD, test_accuracy_best=0.5), metric="test_accuracy_best")
    assert by_title(judged)["KD, tuned"].test.mean == 0.5


def test_what_is_no_contest(tmp_path, judge):
    searches: list[dict[str, Any]] = [{}, {"comparison": {"methods": []}}, {"comparison": None}]
    assert not any(is_comparison(record) for record in searches)
    table = ResultTable(tmp_path)
    table.append(row())
    assert comparison_of(tmp_path, table.read()) is None
    (tmp_path / "experiment.json").write_text(json.dumps({"name": "x"}))
    assert comparison_of(tmp_path, table.read()) is None
    with pytest.raises(ResultError, match="compares no methods"):
        judge(record={})
    with pytest.raises(ResultError, match="rows of 2"):
        judge(contest_finals("kd", KD))


@settings(max_examples=15)
@given(st.permutations(range(9)))
def test_the_order_of_rows_does_not_matter(order):
    rows = contest_finals("kd", KD) + contest_finals("dkd", {0: 0.9, 1: 0.93, 2: 0.92}, 1.0)
    rows += contest_finals("scratch", {0: 0.8, 1: 0.85, 2: 0.83}, method="scratch")
    frame = frame_of(rows)
    assert comparison(frame.iloc[list(order)], RECORD) == comparison(frame, RECORD)


def frame_of(rows):
    return to_frame(to_table([one.__dict__ for one in rows], ROW_SCHEMA))


def test_leaderboards_take_contenders_and_name_roles(tmp_path):
    table = ResultTable(tmp_path)
    shared = finals("kd", KD, compute_fraction=1.0, experiment="methods")
    for one in [*shared, *contest_choice("kd", {"{}": 0.9}), *contest_finals("dkd", KD, options_json='{"beta": 2}')]:
        table.append(one)
    for one in finals("kd-again", KD, compute_fraction=1.0, experiment="methods"):
        table.append(one)
    board = rank_results(table.read())
    assert sorted(board["role"]) == ["dkd", "kd", "kd, kd-again"]
    assert "kd, kd-again" in to_sheet(board).to_markdown()
