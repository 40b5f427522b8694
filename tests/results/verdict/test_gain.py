"""What may be said of four arms, by hand: base 0.90, 0.91, 0.92 for seeds 0, 1, 2."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from automl_kd.errors import ResultError
from automl_kd.results import ResultTable, Row
from automl_kd.results.verdict.gain import Verdict, judge_search
from automl_kd.results.verdict.table import cost_table, gain_table, verdict_table, verdict_to_markdown
from tests.results.synthetic import NOON, finals, four_arms, row

BASE = {0: 0.90, 1: 0.91, 2: 0.92}


def judge(folder: Path, rows: list[Row]) -> Verdict:
    table = ResultTable(folder)
    for one in rows:
        table.append(one)
    return judge_search(table.read())


def test_gained(tmp_path):
    # differences 2, 3, 4 points: mean 3, s = 1, half width 4.3027 / sqrt 3 = 2.48
    judged = judge(tmp_path, four_arms({0: 0.92, 1: 0.94, 2: 0.96}, BASE))
    assert judged.sentence == (
        "Gained 3.00 points (95 % interval +0.52 to +5.48, 3 seeds) at equal compute: the found student (found, 10.0 k"
        " parameters) trained by kd reaches 94.00 % on test, the default student (default, 20.0 k parameters) with"
        " plain KD 91.00 %."
    )
    assert judged.gains["search"].mean == pytest.approx(0.03)
    assert judged.gains["architecture"].mean == pytest.approx(0.03)
    assert judged.gains["teaching"].mean == pytest.approx(0.02)
    assert judged.gains["teaching"].half_width == 0.0


def test_not_gained(tmp_path):
    # differences -1, 1, 3 points: mean 1, s = 2, half width 4.97
    judged = judge(tmp_path, four_arms({0: 0.89, 1: 0.92, 2: 0.95}, BASE))
    assert judged.sentence.startswith(
        "No gain is shown, as the interval includes zero"
        " (difference +1.00 points, 95 % interval -3.97 to +5.97, 3 seeds) at equal compute: the found student"
    )


def test_exactly_nothing(tmp_path):
    judged = judge(tmp_path, four_arms(BASE, BASE))
    assert "No gain is shown" in judged.sentence
    assert "difference 0.00 points, 95 % interval 0.00 to 0.00" in judged.sentence


def test_worse(tmp_path):
    judged = judge(tmp_path, four_arms({0: 0.88, 1: 0.88, 2: 0.88}, BASE))
    assert judged.sentence.startswith("Worse by 3.00 points (95 % interval -5.48 to -0.52, 3 seeds) at equal compute: ")


def test_one_seed(tmp_path):
    judged = judge(tmp_path, four_arms({0: 0.93}, {0: 0.90}))
    assert judged.sentence.startswith(
        "One seed cannot separate a gain from chance; here the difference is +3.00 points at equal compute: the"
    )


def test_pairs_are_made_by_seed_not_by_place(tmp_path):
    # only seeds 1 and 2 are common: differences 3 and 4
    judged = judge(tmp_path, four_arms({1: 0.94, 2: 0.96, 7: 0.10}, BASE))
    assert judged.gains["search"].n == 2
    assert judged.gains["search"].mean == pytest.approx(0.035)
    assert "reaches 95.00 % on test" in judged.sentence
    assert "plain KD 91.50 %" in judged.sentence


def test_no_common_seed(tmp_path):
    judged = judge(tmp_path, four_arms({5: 0.94}, {0: 0.9}))
    assert judged.sentence.startswith("No verdict: no seed was completed by both")


def test_finals_missing(tmp_path):
    judged = judge(tmp_path, [row()])
    assert judged.sentence == "No verdict yet: the final trials are not done (none of: found student, its method)."
    assert not judged.arms
    assert judged.cost_sentence == "The search took 20 s and 1.00 T multiply-adds; no teacher was trained here."


def test_a_baseline_missing_is_named(tmp_path):
    judged = judge(tmp_path, finals("found-method", BASE))
    assert judged.sentence == "No verdict yet: the final trials are not done (none of: default student, plain KD)."


def test_all_finals_failed(tmp_path):
    failed = finals("found-method", BASE, status="failed", error="killed")
    judged = judge(tmp_path, [*failed, *finals("default-kd", BASE)])
    assert judged.sentence == (
        "No verdict: none of the 3 final trials of this kind is complete: found student, its method."
    )


def test_the_default_student_found_again(tmp_path):
    base = finals("default-kd", BASE, architecture_id="d" * 12, student="plain")
    same = [row(**{**vars(one), "role": "found-method"}) for one in base]
    judged = judge(tmp_path, base + same)
    assert (
        judged.sentence == "Nothing was gained: the search chose the default student (plain) and trains it by plain KD."
    )
    assert [cost.trials for cost in judged.costs] == [3]


def test_the_default_student_taught_otherwise(tmp_path):
    base = finals("default-kd", BASE, architecture_id="d" * 12)
    found = {seed: value + 0.02 for seed, value in BASE.items()}
    other = finals("found-method", found, architecture_id="d" * 12, method="dkd", options_json='{"beta": 8.0}')
    judged = judge(tmp_path, base + other)
    assert judged.sentence.startswith("Gained 2.00 points (95 % interval +2.00 to +2.00, 3 seeds)")
    assert "trained by dkd (beta=8) reaches" in judged.sentence
    assert judged.sentence.endswith("is the default student itself, so its architecture gained nothing.")


def test_failed_seeds_are_counted(tmp_path):
    lost = finals("found-method", {3: 0.1}, status="failed", architecture_id="f" * 12, student="found")
    arms = judge(tmp_path, four_arms(BASE, BASE) + lost).arms
    assert arms["found-method"].failed == 1
    assert arms["found-method"].test.n == 3


def test_the_latest_holder_of_a_role_counts(tmp_path):
    old = finals("found-method", {0: 0.1, 1: 0.1}, architecture_id="e" * 12, key="old", started=NOON.replace(hour=1))
    arms = judge(tmp_path, old + four_arms(BASE, BASE)).arms
    assert arms["found-method"].architecture_id == "f" * 12
    assert arms["found-method"].test.n == 3


def test_costs_count_every_trial_in_units_of_a_default_training(tmp_path):
    searched = [row(key=f"s{n}", status=status) for n, status in enumerate(("complete", "stopped", "failed"))]
    teacher = row(trial_kind="teacher", role="teacher", key="t", seconds=100.0, train_macs=5e12)
    arms = four_arms(BASE, BASE, train_macs=2e12)
    judged = judge(tmp_path, [*searched, teacher, *arms])
    # default-kd: 1 T each; 3 search trials of 1 T, teacher 5 T, finals 6 of 1 T and 6 of 2 T
    assert [(cost.stage, cost.trials, cost.trainings) for cost in judged.costs] == [
        ("teacher", 1, 5.0),
        ("search", 3, 3.0),
        ("final", 12, 18.0),
    ]
    assert judged.cost_sentence == (
        "The search took 1 min 0 s and 3.00 T multiply-adds, as much as 3.00 final trainings of the default student;"
        " the teacher 1 min 40 s and 5.00 T multiply-adds, as much as 5.00 final trainings of the default student."
        " The compute was not equal: one training of the found student took 2.00 times the multiply-adds of one of the"
        " default student."
    )


def test_more_compute_for_the_baseline_is_said_too(tmp_path):
    arms = finals("default-kd", BASE, train_macs=3e12) + finals("found-method", BASE, train_macs=2e12)
    assert judge(tmp_path, arms).cost_sentence.endswith(
        "the default student had more compute: 1.50 times the multiply-adds of the found one in each training."
    )


def test_tables_for_people(tmp_path):
    judged = judge(tmp_path, four_arms({0: 0.92, 1: 0.94, 2: 0.96}, BASE))
    assert verdict_table(judged).rows[3][:5] == ("found student, its method", "94.00 ± 4.97", "95.00", "3", "10.0 k")
    assert gain_table(judged).rows[0][1:] == ("+3.00", "+0.52 to +5.48", "3")
    assert cost_table(judged).rows == (("final comparison", "12", "4 min 0 s", "12.0 T", "12.0"),)
    assert verdict_to_markdown(judged).startswith(judged.sentence)


def test_one_experiment_at_a_time(tmp_path):
    with pytest.raises(ResultError, match="2"):
        judge(tmp_path, [row(key="1", experiment="one"), row(key="2", experiment="two")])


def test_the_other_metric(tmp_path):
    ResultTable(tmp_path).append(finals("found-method", {0: 0.5}, test_accuracy_best=0.75)[0])
    rows: pd.DataFrame = ResultTable(tmp_path).read()
    assert judge_search(rows, "test_accuracy_best").arms["found-method"].test.mean == 0.75
