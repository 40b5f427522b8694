"""What is recommended for each outcome, by hand: plain KD 0.90, 0.91, 0.92 for seeds 0, 1, 2."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from automl_kd.decision.candidates import JudgedExperiment, MeasuredLatencies
from automl_kd.decision.recommendation import Recommendation, compare_teacher, recommend_candidate
from automl_kd.errors import ResultError
from automl_kd.results import ResultTable, Row
from tests.results.distilled import KD, METHOD, trainings
from tests.results.synthetic import contest_finals, finals, four_arms

BASE = {0: 0.90, 1: 0.91, 2: 0.92}
GAINED = {0: 0.92, 1: 0.94, 2: 0.96}  # differences 2, 3, 4 points: 3.00 +- 2.48
UNCLEAR = {0: 0.89, 1: 0.92, 2: 0.95}  # differences -1, 1, 3 points: 1.00 +- 4.97
LOST = {0: 0.88, 1: 0.88, 2: 0.88}  # differences -2, -3, -4 points
SAME_SIZE = {"params": 20_000}


def read(folder: Path, rows: list[Row], record: dict[str, Any] | None = None, **more: Any) -> JudgedExperiment:
    table = ResultTable(folder)
    for one in rows:
        table.append(one)
    if record is not None:
        (folder / "experiment.json").write_text(json.dumps(record))
    return JudgedExperiment.read(folder, **more)


def recommend(folder: Path, rows: list[Row], record: dict[str, Any] | None = None) -> Recommendation:
    return recommend_candidate(read(folder, rows, record))


def with_scratch(rows: list[Row], **accuracies: dict[int, float]) -> list[Row]:
    """`rows` with other accuracies of the roles given, by their names with an underscore."""
    given = {name.replace("_", "-"): by_seed for name, by_seed in accuracies.items()}
    return [
        dataclasses.replace(one, test_accuracy=given[one.role][one.seed]) if one.role in given else one for one in rows
    ]


def test_better_than_all_is_shipped(tmp_path):
    found = recommend(tmp_path, four_arms(GAINED, BASE))
    assert found.choice == "ship"
    assert found.headline == (
        "Ship the found student: it is 3.00 points better than the default student with plain KD."
    )
    assert found.reason == (
        "On test it reaches 94.00 %, the default student with plain KD 91.00 % (95 % interval +0.52 to +5.48, 3 seeds) "
        "at equal compute. Beside the default student with plain KD, the found student trained by kd has 0.50 times "
        "its parameters."
    )


def test_no_gain_keeps_plain_kd(tmp_path):
    found = recommend(tmp_path, four_arms(UNCLEAR, BASE, **SAME_SIZE))
    assert found.choice == "keep"
    assert found.headline == "Keep the plain KD student: the search did not help."
    assert found.reason == (
        "No gain of the found student trained by kd (92.00 % on test) over the default student with plain KD (91.00 %) "
        "is shown (difference +1.00 points, 95 % interval -3.97 to +5.97, 3 seeds) at equal compute."
    )


def test_as_good_and_smaller_is_shipped(tmp_path):
    found = recommend(tmp_path, four_arms(UNCLEAR, BASE))  # 10,000 parameters against 20,000
    assert found.choice == "ship"
    assert found.headline == "Ship the found student: it costs less, and no loss in accuracy is shown."
    assert "(difference +1.00 points, 95 % interval -3.97 to +5.97, 3 seeds)" in found.reason


def test_as_good_and_faster_on_the_device_is_shipped(tmp_path):
    rows = four_arms(UNCLEAR, BASE, **SAME_SIZE)
    latencies = {one.architecture_id: 2.0 if one.role == "found-method" else 5.0 for one in rows if one.role}
    measured = MeasuredLatencies(device="phone", students=latencies)
    found = recommend_candidate(read(tmp_path, rows, latencies=measured))
    assert found.headline == "Ship the found student: it costs less, and no loss in accuracy is shown."
    assert "0.40 times its latency" in found.reason


def test_fewer_parameters_and_more_multiply_adds_is_not_smaller(tmp_path):
    found = recommend(tmp_path, four_arms(UNCLEAR, BASE, macs=1_500_000))
    assert found.headline == "Keep the plain KD student: the search did not help."


def test_worse_keeps_plain_kd_though_it_is_larger(tmp_path):
    found = recommend(tmp_path, four_arms(LOST, BASE))
    assert found.headline == "Keep the plain KD student: the search did not help at equal compute."
    assert "reaches 91.00 % on test, 3.00 points more than the found student trained by kd with 88.00 %" in found.reason
    assert "(95 % interval +0.52 to +5.48, 3 seeds)" in found.reason
    assert found.chosen is not None
    assert found.chosen.role == "default-kd"


def test_from_scratch_as_good(tmp_path):
    rows = with_scratch(four_arms(GAINED, BASE), found_scratch={0: 0.93, 1: 0.94, 2: 0.95})  # -1, 0, +1
    found = recommend(tmp_path, rows)
    assert found.headline == (
        "Train the found student from scratch: it is as good without the teacher, as far as 3 seeds can tell."
    )
    assert found.choice == "keep"


def test_from_scratch_better(tmp_path):
    rows = with_scratch(four_arms(GAINED, BASE), found_scratch={0: 0.96, 1: 0.97, 2: 0.99})
    assert recommend(tmp_path, rows).headline == (
        "Train the found student from scratch: teaching it did not help at equal compute."
    )


@pytest.mark.parametrize(
    ("accuracy", "said"),
    [
        ({0: 0.93, 1: 0.94, 2: 0.95}, "it is as good without the teacher's answers, as far as 3 seeds can tell."),
        ({0: 0.96, 1: 0.97, 2: 0.99}, "the teacher's answers did not help at equal compute."),
    ],
    ids=["as good", "better"],
)
def test_labels_alone_from_the_same_weights(tmp_path, accuracy, said):
    rows = four_arms(GAINED, BASE)
    warm = [dataclasses.replace(one, init="teacher") if one.role == "found-method" else one for one in rows]
    found = next(one for one in warm if one.role == "found-method")
    held = {"student": found.student, "architecture_id": found.architecture_id, "params": found.params}
    alone = finals("found-labels", accuracy, method="scratch", init="teacher", **held)
    chosen = recommend(tmp_path, [*warm, *alone])
    assert chosen.headline == f"Train the found student on labels alone, from the same weights: {said}"
    assert "found student trained on labels alone from the teacher's weights" in chosen.reason


def test_of_two_that_are_better_validation_chooses(tmp_path):
    rows = with_scratch(
        four_arms(LOST, BASE), found_scratch={0: 0.96, 1: 0.97, 2: 0.98}, default_scratch={0: 0.97, 1: 0.98, 2: 0.99}
    )
    best = {"found-scratch": 0.99, "default-scratch": 0.95}
    rows = [dataclasses.replace(one, val_accuracy=best.get(one.role, 0.9)) for one in rows]
    chosen = recommend(tmp_path, rows).chosen
    assert chosen is not None
    assert chosen.role == "found-scratch"


def test_default_from_scratch_as_good(tmp_path):
    rows = with_scratch(four_arms(UNCLEAR, BASE, **SAME_SIZE), default_scratch={0: 0.91, 1: 0.92, 2: 0.93})
    # plain KD is a point worse than it with every seed, and the found one shows no difference to either
    assert recommend(tmp_path, rows).headline == (
        "Train the default student from scratch: it is as good, as far as 3 seeds can tell."
    )


def test_the_simplest_is_not_taken_where_another_is_shown_to_beat_it(tmp_path):
    base = {0: 0.91, 1: 0.92, 2: 0.93}
    rows = with_scratch(four_arms({0: 0.90, 1: 0.92, 2: 0.94}, base, **SAME_SIZE), default_scratch=BASE)
    # from scratch is a point worse than plain KD with every seed; neither differs clearly from the found one
    assert recommend(tmp_path, rows).headline == "Keep the plain KD student: the search did not help."


def test_the_search_ended_on_the_default(tmp_path):
    same = {"architecture_id": "d" * 12, "student": "default", "params": 20_000}
    found = recommend(tmp_path, four_arms(BASE, BASE, **same))
    assert found.headline == "Keep the plain KD student: the search found nothing better."
    assert found.reason.startswith("The search chose the default student (default)")


def test_one_seed_decides_nothing(tmp_path):
    found = recommend(tmp_path, four_arms({0: 0.93}, {0: 0.90}))
    assert (found.choice, found.chosen) == ("undecided", None)
    assert found.headline == "One seed cannot tell the students apart: train more."
    assert "+3.00 points over the default student with plain KD" in found.reason


def test_a_baseline_with_one_complete_seed_decides_nothing(tmp_path):
    rows = with_scratch(four_arms(GAINED, BASE), default_scratch={0: 0.88, 1: 0.88, 2: 0.88})
    failed = [
        dataclasses.replace(one, status="failed", test_accuracy=None)
        if one.role == "default-scratch" and one.seed != 1
        else one
        for one in rows
    ]
    found = recommend(tmp_path / "scratch", failed)
    assert found.choice == "ship"
    assert "Nothing is known of the default student trained from scratch, as they share one seed." in found.reason
    failed = [
        dataclasses.replace(one, status="failed", test_accuracy=None)
        if one.role == "default-kd" and one.seed != 1
        else one
        for one in rows
    ]
    assert recommend(tmp_path / "kd", failed).choice == "undecided"


def test_accuracies_are_those_of_the_difference_beside_them(tmp_path):
    rows = [one for one in four_arms(GAINED, BASE) if (one.role, one.seed) != ("default-kd", 2)]
    # found 92 and 94 %, plain KD 90 and 91 %: seed 2, which one of them lacks, counts for neither
    said = "On test it reaches 93.00 %, the default student with plain KD 90.50 %"
    assert said in recommend(tmp_path, [one for one in rows if not one.role.endswith("scratch")]).reason


def test_without_finals_nothing_is_decided(tmp_path):
    found = recommend(tmp_path, four_arms(GAINED, BASE)[:3])
    assert found.headline == "Nothing can be decided yet."
    assert found.reason.startswith("No verdict yet: the final trials are not done")


def test_a_stand_in_decides_nothing(tmp_path):
    record = {"name": "tried", "stand_in": {"images": 1_000_000}, "data": {"train_images": 50, "resolution": 32}}
    found = recommend(tmp_path, four_arms(GAINED, BASE), record)
    assert found.choice == "undecided"
    assert "nothing follows from its accuracies" in found.reason


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(ResultError, match="holds no results; give the folder of an experiment"):
        JudgedExperiment.read(tmp_path)


def contest(folder: Path, **accuracies: dict[int, float]) -> Recommendation:
    methods = [{"name": "kd", "title": "KD", "method": "kd"}, {"name": "pruned", "title": "", "method": "subgraph"}]
    record = {"name": "methods", "comparison": {"reference": "kd", "methods": methods}}
    rows = [*contest_finals("kd", BASE), *contest_finals("pruned", accuracies["pruned"], method="subgraph")]
    return recommend(folder, rows, record)


def test_in_a_comparison_the_pruned_teacher_is_better(tmp_path):
    found = contest(tmp_path, pruned=GAINED)
    assert found.headline == "Ship your teacher, pruned: it is 3.00 points better than the student by KD."


def test_in_a_comparison_no_method_is_shown_to_help(tmp_path):
    found = contest(tmp_path, pruned=UNCLEAR)
    assert found.headline == "Keep the student by KD: pruned is not shown to help."


def test_in_a_comparison_labels_alone_are_not_from_scratch_where_students_begin_with_weights(tmp_path):
    methods = [
        {"name": "kd", "title": "KD", "method": "kd"},
        {"name": "warm", "title": "labels alone", "method": "scratch"},
    ]
    record = {"name": "methods", "comparison": {"reference": "kd", "methods": methods}}
    rows = [
        *contest_finals("kd", BASE, init="teacher"),
        *contest_finals("warm", GAINED, method="scratch", init="teacher"),
    ]
    assert [one.kind for one in read(tmp_path, rows, record).candidates] == ["found-labels", "default-kd"]
    assert recommend(tmp_path, rows, record).headline.startswith("Ship the student by labels alone")


def test_a_distillation_that_helps(tmp_path):
    record = {"name": "taught", "space": "model:resnet8"}
    found = recommend(tmp_path, trainings(METHOD), record)
    # differences from KD 3, 4, 2 points
    assert found.headline == (
        "Ship the student trained by weighted_losses (losses=dkd=1): it is 3.00 points better than the student with "
        "plain KD."
    )


def test_a_distillation_that_does_not_help(tmp_path):
    unclear = {seed: value + (-0.01, 0.01, 0.01)[seed] for seed, value in KD.items()}
    found = recommend(tmp_path, trainings(unclear), {"name": "taught", "space": "model:resnet8"})
    assert found.headline == "Keep the plain KD student: weighted_losses (losses=dkd=1) is not shown to help."


def test_costs_come_from_the_rows_or_from_the_users_device(tmp_path):
    rows = four_arms(GAINED, BASE, macs=500_000)
    timed = [dataclasses.replace(one, latency_ms=one.seed + 1.0, latency_threads=2, device="cpu X") for one in rows]
    measured = read(tmp_path, timed)
    assert measured.found is not None
    assert (measured.found.macs, measured.found.params, measured.found.latency_ms) == (500_000, 10_000, 2.0)
    assert measured.device == "cpu X, 2 threads"
    given = MeasuredLatencies(device="a phone", students={"f" * 12: 7.5})
    phone = JudgedExperiment.read(tmp_path, given)
    assert {one.role: one.latency_ms for one in phone.candidates} == {
        "default-scratch": None,
        "default-kd": None,
        "found-scratch": 7.5,
        "found-method": 7.5,
    }
    assert phone.device == "a phone"


def test_beside_its_teacher(tmp_path):
    found = read(tmp_path, four_arms(GAINED, BASE)).found
    assert found is not None
    assert compare_teacher(found, 0.96, 100_000, 4_000_000) == (
        "The found student trained by kd is 2.00 points below the teacher (96.00 % on test) and has 10.0 % of its "
        "parameters and 25.0 % of its multiply-adds."
    )
    assert "is 1.00 points above the teacher (93.00 % on test)." in compare_teacher(found, 0.93, float("nan"), 0.0)
    assert not compare_teacher(found, float("nan"), float("nan"), float("nan"))
