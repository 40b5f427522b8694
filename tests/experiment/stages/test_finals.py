"""The line-up of the truth table: who is chosen, who stands beside it, and that nobody trains for less."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automl_kd.config import CHOICE_SEEDS, Finalists
from automl_kd.experiment.context import ExperimentContext, Roots
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.progress.events import Silent
from automl_kd.experiment.proposals import Proposal
from automl_kd.experiment.stages.finals import entrants, final_spec, forecast_power, line_up, mean_validation, shortlist
from automl_kd.experiment.stages.search import search_spec
from automl_kd.space import Architecture
from automl_kd.spec import Recipe
from tests import tiny

SMALL, DEFAULT = Architecture.of({"width": 2}), Architecture.of({"width": 4})


def by_kd(student: Architecture, **options) -> Proposal:
    return Proposal(student, "kd", options)


def epochs_of(context: ExperimentContext, found: Proposal) -> list[int]:
    """In the order of the truth table: default student from scratch and by plain KD, found one likewise."""
    return [one.epochs for one in line_up(context, found)]


def lab_of(root, **changes) -> ExperimentContext:
    """With a teacher that is as good as trained: what a trial costs may be asked of it."""
    context = prepare_experiment(tiny.experiment(**changes), Roots(results=root / "results", data=root), Silent())
    tiny.leave_teacher(context)
    return context


@pytest.fixture(scope="module")
def taught(tmp_path_factory) -> ExperimentContext:
    return lab_of(tmp_path_factory.mktemp("lab"), method="kd", finalists=Finalists(seeds=(0, 1)))


def rows(*entries: tuple[str, str, float | None, int, int]) -> pd.DataFrame:
    """(run, status, validation accuracy, parameters, width) of each."""
    frame = pd.DataFrame(entries, columns=["trial_kind", "status", "val_accuracy", "params", "width"])
    frame["values_json"] = [f'{{"width": {width}}}' for width in frame["width"]]
    frame["architecture_id"] = [Architecture.of({"width": width}).key for width in frame["width"]]
    frame["method"], frame["options_json"], frame["schedule_json"] = "kd", "{}", None
    frame["key"] = [f"{position:016x}" for position in range(len(frame))]
    return frame


def widths(found: Sequence[Proposal]) -> list[int]:
    return [int(one.architecture.as_dict()["width"]) for one in found]


def test_the_best_complete_search_trials_on_validation_are_shortlisted():
    frame = rows(
        ("search", "complete", 0.7, 20, 2),
        ("search", "complete", 0.8, 30, 3),
        ("search", "stopped", 0.9, 40, 4),
        ("search", "failed", 0.95, 50, 5),
        ("final", "complete", 0.99, 60, 6),
        ("choice", "complete", 0.99, 60, 7),
        ("teacher", "complete", 1.0, 70, 8),
        ("search", "complete", 0.6, 90, 9),
    )
    assert widths(shortlist(frame, 2)) == [3, 2]
    assert widths(shortlist(frame, 9)) == [3, 2, 9]


def test_of_equals_the_smaller_comes_first_and_no_accuracy_last():
    assert widths(shortlist(rows(("search", "complete", 0.8, 30, 3), ("search", "complete", 0.8, 20, 2)), 2)) == [2, 3]
    assert widths(shortlist(rows(("search", "complete", None, 9, 1), ("search", "complete", 0.1, 30, 3)), 2)) == [3, 1]


def test_the_order_of_rows_makes_no_difference():
    frame = rows(*[("search", "complete", 0.5 + 0.1 * (n % 3), 10 + n % 2, n) for n in range(2, 12)])
    for seed in range(5):
        assert shortlist(frame.sample(frac=1, random_state=seed), 4) == shortlist(frame, 4)


def test_nothing_is_shortlisted_where_nothing_is_complete():
    assert shortlist(rows(("search", "stopped", 0.9, 40, 4)), 3) == []


def test_candidates_are_compared_by_their_mean_over_complete_trials_of_the_choice():
    frame = rows(
        ("choice", "complete", 0.5, 20, 2),
        ("choice", "complete", 0.7, 20, 2),
        ("choice", "failed", 0.1, 20, 2),
        ("choice", "complete", 0.65, 30, 3),
        ("final", "complete", 0.99, 30, 3),
    )
    # width 2: (0.5 + 0.7) / 2; width 3: 0.65 alone
    found = {by_kd(SMALL).key: 0.6, by_kd(Architecture.of({"width": 3})).key: 0.65}
    assert mean_validation(frame) == pytest.approx(found)


CHOICE = ((2, 0.90), (2, 0.92), (4, 0.80), (4, 0.82))


def test_what_the_finals_can_show_follows_from_the_spread_of_the_choice():
    # Of each pair the squares sum up to 2 points, over one degree of freedom: differences spread by 2 points.
    frame = rows(*(("choice", "complete", accuracy, 10, width) for width, accuracy in CHOICE))
    assert forecast_power(frame, 3) == (
        "by the spread between seeds so far, a comparison of 3 seeds shows differences from 4.97 points; one point "
        "would take about 18 seeds"
    )
    assert "of 1 seed shows none" in forecast_power(frame, 1)
    assert forecast_power(frame.iloc[:1], 3) == ""
    assert forecast_power(frame.assign(trial_kind="search"), 3) == ""


def test_one_student_taught_in_two_ways_is_two_candidates():
    frame = rows(
        ("choice", "complete", 0.5, 20, 2), ("choice", "complete", 0.7, 20, 2), ("search", "complete", 0.7, 20, 2)
    )
    frame["options_json"] = ['{"weight": 0.5}', '{"weight": 0.1}', '{"weight": 0.1}']
    assert mean_validation(frame) == {by_kd(SMALL, weight=0.5).key: 0.5, by_kd(SMALL, weight=0.1).key: 0.7}
    assert shortlist(frame, 1) == [by_kd(SMALL, weight=0.1)]


def test_equal_compute_by_hand(taught):
    # Multiply-adds: width 2 has 64 x 18 + 6 = 1158, width 4 has 64 x 36 + 12 = 2316, the teacher 64 x 144 + 48 = 9264.
    # The found student's training: 3 epochs of 3 x 1158 + 9264 = 12738, together 38214.
    assert taught.teacher_macs == 9264
    assert taught.cost(SMALL).macs == 1158
    # Default student: from scratch 38214 / 6948 = 5.5, by KD 38214 / 16212 = 2.4. Found one: 38214 / 3474 = 11.
    assert epochs_of(taught, by_kd(SMALL)) == [6, 3, 11, 3]


def test_the_losses_own_layers_count_in_the_compute(tmp_path):
    context = lab_of(tmp_path)
    fitnet = Proposal(DEFAULT, "weighted_losses", {"losses": "fitnet, fitnet.stages=pre_pool"})
    # An image costs 16212 by KD; with the regressor, a 1x1 convolution from 4 to 16 channels on maps of 8x8 that is
    # trained as the student is, 16212 + 3 x 4096 = 28500. Three epochs of that: scratch 85500 / 6948, KD 85500 / 16212.
    assert epochs_of(context, fitnet) == [13, 6, 13, 3]


def test_the_default_student_as_the_found_one_is_the_same_trials(tmp_path):
    context = lab_of(tmp_path, method="kd", finalists=Finalists(epochs=30, seeds=(0,)))
    assert epochs_of(context, by_kd(DEFAULT))[1] == 30
    keys = [one.spec.key for one in entrants(context, by_kd(DEFAULT))]
    assert (keys[0], keys[1]) == (keys[2], keys[3])


def test_finalists_may_train_longer_than_the_search(tmp_path):
    longer = lab_of(tmp_path, method="kd", finalists=Finalists(epochs=30))
    assert epochs_of(longer, by_kd(SMALL))[2:] == [110, 30]


@settings(deadline=None)
@given(width=st.integers(2, 15), method=st.sampled_from(["scratch", "kd"]))
def test_a_baseline_never_has_less_compute_and_less_than_an_epoch_more(taught, width, method):
    found = Proposal(Architecture.of({"width": width}), method)
    macs = taught.cost(found.architecture).macs
    budget = 3 * (3 * macs + (taught.teacher_macs if method == "kd" else 0))
    for one in line_up(taught, found)[:3]:
        each = 3 * taught.cost(one.proposal.architecture).macs + (taught.teacher_macs if one.role[-2:] == "kd" else 0)
        assert budget <= one.epochs * each < budget + each


def test_four_roles_stand_with_every_seed(taught):
    ours = entrants(taught, by_kd(SMALL))
    assert [(one.role, one.spec.architecture, one.spec.method, one.spec.seed) for one in ours] == [
        (role, student, method, seed)
        for role, student, method in [
            ("default-scratch", DEFAULT, "scratch"),
            ("default-kd", DEFAULT, "kd"),
            ("found-scratch", SMALL, "scratch"),
            ("found-method", SMALL, "kd"),
        ]
        for seed in (0, 1)
    ]
    assert [one.spec.recipe.epochs for one in ours] == [6, 6, 3, 3, 11, 11, 3, 3]
    assert {one.spec.teacher for one in ours if one.spec.method == "kd"} == {tiny.TEACHER}
    assert {one.spec.teacher for one in ours if one.spec.method == "scratch"} == {None}
    assert len({one.spec.key for one in ours}) == 8


def test_a_found_default_stands_for_two_roles_with_one_trial(taught):
    keys = [one.spec.key for one in entrants(taught, by_kd(DEFAULT))]
    assert keys[:4] == keys[4:]
    assert len(set(keys)) == 4


def test_plain_kd_keeps_the_options_where_it_is_the_method_and_has_its_own_otherwise(tmp_path):
    own = lab_of(tmp_path, method="kd", options={"temperature": 2.0})
    ours = entrants(own, by_kd(SMALL, temperature=2.0))
    assert [dict(one.spec.options) for one in ours] == [{}, {"temperature": 2.0}] * 2
    other = lab_of(tmp_path, options={"seconds": 0.5})
    found = Proposal(SMALL, "tests.tiny:Pretend", {"seconds": 0.5})
    assert [dict(one.spec.options) for one in entrants(other, found)] == [{}, {}, {}, {"seconds": 0.5}]


def test_no_trial_of_the_search_or_of_the_choice_stands_among_the_finals(taught):
    one = by_kd(SMALL)
    found = [entrant.spec for entrant in entrants(taught, one) if entrant.role == "found-method"]
    chosen = [final_spec(taught, one, 3, CHOICE_SEEDS + seed) for seed in (0, 1, 2)]
    keys = [spec.key for spec in (*found, *chosen, search_spec(taught, one))]
    assert len(set(keys)) == len(keys)
    assert dataclasses.replace(search_spec(taught, one), seed=found[0].seed) == found[0]
    assert found[0].recipe == Recipe(epochs=3, batch_size=16)


def test_a_method_without_a_teacher_stands_beside_plain_kd_with_one(tmp_path):
    context = lab_of(tmp_path, method="scratch")
    found = Proposal(SMALL, "scratch")
    default_kd = entrants(context, found)[1].spec
    assert (default_kd.method, default_kd.teacher) == ("kd", tiny.TEACHER)
    # 3 epochs of 3 x 1158 against 3 x 2316 + 9264 = 16212 each: less than one epoch, so one
    assert default_kd.recipe.epochs == 1
    assert search_spec(context, found).teacher is None
