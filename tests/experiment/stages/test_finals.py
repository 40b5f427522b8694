"""The line-up of the truth table: who is chosen, who stands beside it, and that nobody trains for less."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automl_kd.config import CHOICE_SEEDS, Finalists, StudentSection
from automl_kd.experiment.context import ExperimentContext, Roots
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.progress.events import Silent
from automl_kd.experiment.proposals import Proposal
from automl_kd.experiment.stages.finals import (
    entrants,
    final_spec,
    forecast_power,
    line_up,
    reliable_mean,
    shortlist,
    validation_by_proposal,
)
from automl_kd.experiment.stages.lengths import Length
from automl_kd.experiment.stages.search import search_spec
from automl_kd.experiment.stages.trials import is_recorded
from automl_kd.space import Architecture
from automl_kd.spec import READINGS, Recipe, TeacherCacheOptions
from tests import tiny

SMALL, DEFAULT = Architecture.of({"width": 2}), Architecture.of({"width": 4})


def by_kd(student: Architecture, **options) -> Proposal:
    return Proposal(student, "kd", options)


def epochs_of(context: ExperimentContext, found: Proposal) -> list[float]:
    """By compute, in the order of the roles: default student from scratch and by plain KD, found one likewise."""
    return [one.length.passes for one in line_up(context, found) if "compute" in one.readings]


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


def test_candidates_are_compared_by_their_complete_trials_of_the_choice():
    frame = rows(
        ("choice", "complete", 0.5, 20, 2),
        ("choice", "complete", 0.7, 20, 2),
        ("choice", "failed", 0.1, 20, 2),
        ("choice", "complete", 0.65, 30, 3),
        ("final", "complete", 0.99, 30, 3),
    )
    assert validation_by_proposal(frame) == {
        by_kd(SMALL).key: [0.5, 0.7],
        by_kd(Architecture.of({"width": 3})).key: [0.65],
    }
    # width 3 did not come through with one of two seeds, so its higher mean counts for less
    assert reliable_mean([0.5, 0.7]) > reliable_mean([0.65]) > reliable_mean([])
    assert reliable_mean([0.6, 0.8]) > reliable_mean([0.5, 0.7])


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
    assert validation_by_proposal(frame) == {by_kd(SMALL, weight=0.5).key: [0.5], by_kd(SMALL, weight=0.1).key: [0.7]}
    assert shortlist(frame, 1) == [by_kd(SMALL, weight=0.1)]


def test_equal_compute_by_hand(taught):
    # Multiply-adds: width 2 has 64 x 18 + 6 = 1158, width 4 has 64 x 36 + 12 = 2316, the teacher 64 x 144 + 48 = 9264.
    # The found student's training: 3 epochs of 3 x 1158 + 9264 = 12738, together 38214.
    assert taught.teacher_macs == 9264
    assert taught.cost(SMALL).macs == 1158
    # Default student: from scratch 38214 / 6948 = 5.5, by KD 38214 / 16212 = 2.357. Found one: 38214 / 3474 = 11.
    assert epochs_of(taught, by_kd(SMALL)) == pytest.approx([5.5, 2.3571, 11, 3], abs=1e-4)


def test_the_losses_own_layers_count_in_the_compute(tmp_path):
    context = lab_of(tmp_path)
    fitnet = Proposal(DEFAULT, "weighted_losses", {"losses": "fitnet, fitnet.stages=pre_pool"})
    # An image costs 16212 by KD; with the regressor, a 1x1 convolution from 4 to 16 channels on maps of 8x8 that is
    # trained as the student is, 16212 + 3 x 4096 = 28500. Three epochs of that: scratch 85500 / 6948, KD 85500 / 16212.
    assert epochs_of(context, fitnet) == pytest.approx([12.3057, 5.2739, 12.3057, 3], abs=1e-4)


def test_the_default_student_as_the_found_one_is_the_same_trials(tmp_path):
    context = lab_of(tmp_path, method="kd", finalists=Finalists(epochs=30, seeds=(0,)))
    assert epochs_of(context, by_kd(DEFAULT))[1] == 30
    keys = [one.spec.key for one in entrants(context, by_kd(DEFAULT)) if "compute" in one.readings]
    assert (keys[0], keys[1]) == (keys[2], keys[3])


def test_finalists_may_train_longer_than_the_search(tmp_path):
    longer = lab_of(tmp_path, method="kd", finalists=Finalists(epochs=30))
    assert epochs_of(longer, by_kd(SMALL))[2:] == [110, 30]
    whole = lab_of(tmp_path, method="kd", finalists=Finalists(epochs=30, whole_epochs=True))
    assert epochs_of(whole, by_kd(SMALL)) == [55, 24, 110, 30]  # 382140 / 6948 = 55.0 and / 16212 = 23.6


@settings(deadline=None)
@given(width=st.integers(2, 15), method=st.sampled_from(["scratch", "kd"]))
def test_a_baseline_has_the_same_compute_within_a_percent(taught, width, method):
    found = Proposal(Architecture.of({"width": width}), method)
    macs = taught.cost(found.architecture).macs
    budget = 3 * (3 * macs + (taught.teacher_macs if method == "kd" else 0))
    for one in line_up(taught, found)[:-1]:
        each = 3 * taught.cost(one.proposal.architecture).macs + (taught.teacher_macs if one.role[-2:] == "kd" else 0)
        if "compute" in one.readings:
            assert one.length.passes * each == pytest.approx(budget, rel=0.01)


def test_the_lengths_of_all_readings_by_hand(taught):
    # By compute as above. With the teacher's passes shared by two trainings, an image of the found student's costs
    # 3474 + 9264 / 2 = 8106 instead of 12738: three epochs 24318 an image. That is 24318 / 6948 = 3.5 epochs of the
    # default student from scratch, 24318 / 3474 = 7 of the found one, and 24318 / (6948 + 4632) = 2.1 by KD.
    found = {
        (one.role, reading): one.length.passes for one in line_up(taught, by_kd(SMALL)) for reading in one.readings
    }
    assert found == pytest.approx(
        {
            ("default-scratch", "compute"): 5.5,
            ("default-scratch", "shared-teacher"): 3.5,
            ("default-kd", "compute"): 2.3571,
            ("default-kd", "shared-teacher"): 2.1,
            ("found-scratch", "compute"): 11,
            ("found-scratch", "shared-teacher"): 7,
            **{(role, "epochs"): 3 for role in ("default-scratch", "default-kd", "found-scratch")},
            **{("found-method", reading): 3 for reading in READINGS},
        },
        abs=1e-4,
    )


def test_lengths_that_agree_are_trained_once(taught, tmp_path):
    # The default student by KD as the found one: one length in all readings, and one trial for both roles.
    same = {one.role: one.readings for one in line_up(taught, by_kd(DEFAULT)) if one.role.endswith(("kd", "method"))}
    assert same == {"default-kd": READINGS, "found-method": READINGS}
    # Without a cache the second reading is the first.
    off = lab_of(tmp_path, method="kd", finalists=Finalists(), teacher_cache=TeacherCacheOptions(keep="off"))
    assert {one.readings for one in line_up(off, by_kd(SMALL))[:2]} == {("compute", "shared-teacher"), ("epochs",)}
    # A found student from scratch has no teacher to share: by compute it is what it is.
    scratch = line_up(taught, Proposal(SMALL, "scratch"))
    assert [one.readings for one in scratch if one.role == "found-scratch"] == [READINGS]


def test_where_images_stand_still_every_seed_and_epoch_shares_one_pass_of_the_teacher(tmp_path):
    still = Recipe(epochs=3, batch_size=16, augment="none")
    context = lab_of(
        tmp_path, method="kd", recipe=still, finalists=Finalists(seeds=(0, 1), readings=("shared-teacher",))
    )
    # One pass for two roles with two seeds: three epochs cost 3 x 3474 + 9264 / 4 = 12738 an image.
    lengths = {one.role: one.length.passes for one in line_up(context, by_kd(SMALL))}
    assert lengths["found-scratch"] == pytest.approx(12738 / 3474, abs=1e-4)
    assert lengths["default-kd"] == pytest.approx((12738 - 2316) / 6948, rel=0.001)


def test_lengths_follow_the_size_that_students_train_on(tmp_path):
    # 18 weights at 4 x 4 pixels in place of 8 x 8, and 6: 294 multiply-adds, of three epochs by KD 3 x (882 + 9264)
    recipe = Recipe(epochs=3, batch_size=16, train_resolution=4)
    context = lab_of(tmp_path, method="kd", recipe=recipe, finalists=Finalists(seeds=(0,), readings=("compute",)))
    assert (context.cost(SMALL).macs, context.training_macs(SMALL)) == (1158, 294)
    lengths = {one.role: one.length.passes for one in line_up(context, by_kd(SMALL))}
    assert lengths["found-scratch"] == pytest.approx(30438 / 882, rel=0.001)


def test_only_the_baselines_and_readings_that_are_asked_for_are_trained(tmp_path):
    asked = Finalists(seeds=(0,), baselines=("found-scratch",), readings=("epochs",))
    ours = entrants(lab_of(tmp_path, method="kd", finalists=asked), by_kd(SMALL))
    assert [(one.role, one.readings, one.spec.recipe.epochs) for one in ours] == [
        ("found-scratch", {"epochs": 1.0}, 3),
        ("found-method", {"epochs": 1.0}, 3),
    ]
    alone = entrants(lab_of(tmp_path, method="kd", finalists=Finalists(seeds=(0,), baselines=())), by_kd(SMALL))
    assert [one.role for one in alone] == ["found-method"]


def test_four_roles_stand_with_every_seed(tmp_path):
    plain = lab_of(tmp_path, method="kd", finalists=Finalists(seeds=(0, 1), readings=("compute",), whole_epochs=True))
    ours = entrants(plain, by_kd(SMALL))
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
    ours = [one for one in entrants(taught, by_kd(DEFAULT)) if "compute" in one.readings]
    keys = [one.spec.key for one in ours]
    assert keys[:4] == keys[4:]
    assert len(set(keys)) == 4


def test_plain_kd_keeps_the_options_where_it_is_the_method_and_has_its_own_otherwise(tmp_path):
    own = lab_of(tmp_path, method="kd", options={"temperature": 2.0})
    ours = entrants(own, by_kd(SMALL, temperature=2.0))
    wanted: dict[str, dict[str, float]] = {"scratch": {}, "kd": {"temperature": 2.0}}
    assert all(dict(one.spec.options) == wanted[one.spec.method] for one in ours)
    other = lab_of(tmp_path, options={"seconds": 0.5})
    found = Proposal(SMALL, "tests.tiny:Pretend", {"seconds": 0.5})
    assert [dict(one.spec.options) for one in entrants(other, found)][-1] == {"seconds": 0.5}
    assert not any(one.spec.options for one in entrants(other, found)[:-1])


def test_a_row_holds_a_trial_only_for_the_readings_that_it_serves(taught):
    one = entrants(taught, by_kd(SMALL))[0]
    frame = pd.DataFrame(
        {"role": [one.role], "key": [one.spec.key], "compute_fraction": [None], "readings_json": [None]}
    )
    assert one.readings == {"compute": 1.0}
    assert is_recorded(frame, one)  # as earlier versions wrote it
    assert is_recorded(frame.assign(readings_json=one.readings_json), one)
    more = one._replace(readings={"compute": 1.0, "epochs": 1.0})
    assert not is_recorded(frame, more)
    assert is_recorded(frame.assign(readings_json=more.readings_json), more)
    assert not is_recorded(frame.assign(readings_json=more.readings_json), one)
    assert not is_recorded(frame.assign(role="found-method"), one)


def test_no_trial_of_the_search_or_of_the_choice_stands_among_the_finals(taught):
    one = by_kd(SMALL)
    found = [entrant.spec for entrant in entrants(taught, one) if entrant.role == "found-method"]
    chosen = [final_spec(taught, one, Length(3), CHOICE_SEEDS + seed) for seed in (0, 1, 2)]
    keys = [spec.key for spec in (*found, *chosen, search_spec(taught, one))]
    assert len(set(keys)) == len(keys)
    assert dataclasses.replace(search_spec(taught, one), seed=found[0].seed) == found[0]
    assert found[0].recipe == Recipe(epochs=3, batch_size=16)


def test_a_method_without_a_teacher_stands_beside_plain_kd_with_one(tmp_path):
    context = lab_of(tmp_path, method="scratch")
    found = Proposal(SMALL, "scratch")
    default_kd = next(one.spec for one in entrants(context, found) if one.role == "default-kd")
    assert (default_kd.method, default_kd.teacher) == ("kd", tiny.TEACHER)
    # 3 epochs of 3 x 1158 = 10422 against 16212: less than one epoch, to whose end a whole one would go
    assert default_kd.recipe.length == pytest.approx(10422 / 16212, abs=1e-4)
    whole = lab_of(tmp_path, method="scratch", finalists=Finalists(seeds=(0,), whole_epochs=True))
    assert {one.spec.recipe.length for one in entrants(whole, found) if one.role == "default-kd"} == {1, 3}
    assert search_spec(context, found).teacher is None


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"method": "kd", "student": StudentSection(init="teacher")}, by_kd(SMALL)),
        ({"method": "subgraph"}, Proposal(SMALL, "subgraph", {"divisor": 1})),
    ],
    ids=["space", "inside the teacher"],
)
def test_where_students_begin_with_weights_the_found_one_also_begins_fresh(tmp_path, changes, found):
    context = lab_of(tmp_path, finalists=Finalists(seeds=(0,), count=1), **changes)
    specs = {one.role: one.spec for one in entrants(context, found)}
    warm, fresh = specs["found-method"], specs["found-fresh"]
    assert fresh.key != warm.key
    assert fresh.recipe == warm.recipe
    if found.method == "kd":
        assert (warm.init, fresh.init, specs["default-kd"].init) == ("teacher", "fresh", "teacher")
        labels = specs["found-labels"]
        assert (labels.method, labels.init, labels.teacher) == ("scratch", "teacher", tiny.TEACHER)
        assert (labels.architecture, labels.recipe) == (warm.architecture, specs["found-scratch"].recipe)
    else:
        assert (warm.options.get("inherit"), fresh.options["inherit"]) == (None, False)
        assert "found-labels" not in specs  # the method makes the student
    assert specs["found-scratch"].init == "fresh"
    assert not {"found-fresh", "found-labels"} & {one.role for one in entrants(thinned(context), found)}


def test_the_same_from_fresh_weights_has_the_same_compute(tmp_path):
    """Where losses have layers of their own, of which formulas do not know."""
    teaching = {"method": "weighted_losses", "options": {"losses": "crd=1, ce=1"}}
    finalists = Finalists(seeds=(0,), count=1, readings=("compute",))
    context = lab_of(tmp_path, finalists=finalists, student=StudentSection(init="teacher"), **teaching)
    found = Proposal(SMALL, "weighted_losses", {"losses": "crd=1, ce=1"})
    lengths = {one.role: one.length.passes for one in line_up(context, found)}
    assert lengths["found-fresh"] == lengths["found-method"] == 3


def thinned(context: ExperimentContext) -> ExperimentContext:
    finalists = dataclasses.replace(context.experiment.finalists, baselines=("default-kd",))
    return dataclasses.replace(context, experiment=dataclasses.replace(context.experiment, finalists=finalists))


def test_where_they_begin_fresh_anyway_there_is_no_such_training(taught):
    assert not {"found-fresh", "found-labels"} & {one.role for one in entrants(taught, by_kd(SMALL))}
