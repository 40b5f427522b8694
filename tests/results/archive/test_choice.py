"""The choice for a budget: by accuracy on validation of equal trainings, and the smallest within one error."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl_kd.errors import ResultError
from automl_kd.results.archive.archive import read_student_archive
from automl_kd.results.archive.choice import choose_student, find_front
from automl_kd.results.archive.limits import Limits
from automl_kd.results.archive.sentences import choice_sentences
from automl_kd.results.archive.students import StudentCosts, TrainedStudent
from automl_kd.results.archive.tables import students_sheet
from tests.results.archive.made import final, proxies, teacher, trial, two_finals, write_archive


def choice_of(folder, trials, scores=(), **limits):
    return choose_student(read_student_archive([write_archive(folder, trials, scores)]), Limits(**limits))


def words(choice):
    return " ".join(one.text for one in choice_sentences(choice))


def test_validation_chooses_and_test_does_not(tmp_path):
    trials = [
        final("a0", "a" * 12, 0.8, 10, test_accuracy=0.1),
        final("b0", "b" * 12, 0.7, 10, test_accuracy=0.9),
    ]
    choice = choice_of(tmp_path / "a", trials)
    assert choice.best.keys == ("a0",)
    assert "On test it has 10.00 %." in words(choice)


def test_a_limit_is_kept_and_may_be_met(tmp_path):
    assert choice_of(tmp_path / "a", two_finals(), params=10_000).best.architecture_id == "f" * 12
    trials = [*two_finals(), final("z0", "e" * 12, 0.6, 9_000)]
    choice = choice_of(tmp_path / "b", trials, params=9_999)
    assert choice.best.keys == ("z0",)
    assert choice_of(tmp_path / "b", (), macs=900_000).best.keys == ("z0",)
    assert choice_of(tmp_path / "b", (), size_mb=0.036).best.keys == ("z0",)


def test_a_full_training_goes_before_a_better_short_one_which_is_named(tmp_path):
    choice = choice_of(tmp_path / "a", [final("a0", "a" * 12, 0.6, 10), trial("s0", "b" * 12, 0.7, 10)])
    assert choice.best.keys == ("a0",)
    assert (choice.missing.student.keys, choice.missing.reason) == (("s0",), "short-is-better")
    assert "did better in a shorter training (70.00 % after 4 epochs of 10); train it: automl-kd pick" in words(choice)


def test_of_short_trainings_the_longest_goes_first_and_is_said_to_be_short(tmp_path):
    trials = [
        teacher(),
        trial("s4", "a" * 12, 0.5, 10),
        trial("s3", "b" * 12, 0.6, 10, status="stopped", epochs_done=3),
        trial("s1", "c" * 12, 0.9, 10, status="stopped", epochs_done=1),
    ]
    choice = choice_of(tmp_path / "a", trials)
    assert [one.keys[0] for one in choice.shown] == ["s4", "s3", "s1"]
    assert choice.peers == (choice.best,)
    assert (choice.missing.reason, choice.missing.student) == ("trained-short", choice.best)
    assert "It was not trained in full: its training was one of the search, after 4 epochs of 10." in words(choice)


def test_a_stopped_student_has_no_weights_to_hand_on(tmp_path):
    choice = choice_of(tmp_path / "a", [trial("s1", "c" * 12, 0.9, 10, status="stopped", epochs_done=1)])
    assert "a scheduler stopped its training, after 1 epoch of 10" in words(choice)
    assert "A training that was stopped leaves no weights" in words(choice)


def test_the_smallest_within_one_standard_error(tmp_path):
    # The best has 82 % with an error of 2.77 points (2 of the seeds, 1.92 of the images), so that 79.3 % lies within
    # one and 79.2 % without.
    near, far = final("n0", "1" * 12, 0.793, 4_000), final("o0", "2" * 12, 0.792, 3_000)
    choice = choice_of(tmp_path / "a", [*two_finals(), near, far, final("m0", "3" * 12, 0.81, 5_000)])
    assert choice.best.standard_error == pytest.approx(0.0277, abs=5e-5)
    assert choice.best.architecture_id == "f" * 12
    assert choice.smallest.keys == ("n0",)
    assert "Of those within one standard error of it, 111111111111 (net 111111111111), taught by kd" in words(choice)


def test_the_smallest_keeps_the_limits_and_is_of_the_first_limited_cost(tmp_path):
    few, quick = final("p0", "1" * 12, 0.81, 4_000, macs=9 * 10**6), final("q0", "2" * 12, 0.81, 9_000, macs=10)
    choice = choice_of(tmp_path / "a", [*two_finals(), few, quick])
    assert choice.smallest.keys == ("p0",)
    assert choice_of(tmp_path / "a", (), macs=10**7).smallest.keys == ("q0",)
    assert choice_of(tmp_path / "a", (), macs=10**7).cost == "macs"
    assert choice_of(tmp_path / "a", (), params=10**4, macs=2 * 10**6).smallest.keys == ("q0",)


def test_no_smaller_student_is_said_too(tmp_path):
    choice = choice_of(tmp_path / "a", two_finals())
    assert choice.smallest is choice.best
    assert "By parameters, no smaller student lies within one standard error of it." in words(choice)


def test_the_plain_student_is_kept_where_nothing_beats_it(tmp_path):
    choice = choice_of(tmp_path / "a", [*two_finals(), final("p0", "e" * 12, 0.9, 10, role="default-kd")])
    assert words(choice).startswith("Keep the plain student: no other one beats it. It is eeeeeeeeeeee (net ")
    assert choice_of(tmp_path / "a", (), params=100).best.plain
    assert words(choice_of(tmp_path / "a", (), params=100)).startswith(
        "With at most 100 parameters, keep the plain student"
    )


def test_a_default_student_that_was_found_is_plain(tmp_path):
    both = [final("p0", "e" * 12, 0.9, 10, role=role) for role in ("default-kd", "found-method")]
    choice = choice_of(tmp_path / "a", both)
    assert choice.best.plain
    assert words(choice).startswith("Keep the plain student: no other one beats it. It is eeeeeeeeeeee")
    other = [final("p0", "e" * 12, 0.9, 10, role=role) for role in ("found-scratch", "found-method")]
    assert words(choice_of(tmp_path / "b", other)).startswith("Take eeeeeeeeeeee")


def test_unequal_lengths_of_full_trainings_are_said(tmp_path):
    long = final("z0", "f" * 12, 0.9, 10, role="found-scratch", method="scratch", epochs=28)
    choice = choice_of(tmp_path / "a", [*two_finals(), long])
    assert choice.best.keys == ("z0",)
    assert "trained in full were so for 10 to 28 epochs" in words(choice)
    assert "trained in full" not in words(choice_of(tmp_path / "b", two_finals()))


def test_a_student_of_two_lengths_is_shown_once(tmp_path):
    trials = [trial("s0", "a" * 12, 0.9, 10), final("f0", "a" * 12, 0.6, 10)]
    choice = choice_of(tmp_path / "a", trials)
    assert [one.keys for one in choice.shown] == [("f0",)]
    assert choice.missing is None


def test_a_scored_student_that_was_never_trained_is_named(tmp_path):
    scores = [one for number in (1, 2, 3) for one in proxies(number, number, number)]
    choice = choice_of(tmp_path / "a", [final("f0", f"{2:012x}", 0.6, 2000)], scores)
    assert (choice.missing.reason, choice.missing.student.architecture_id) == ("scored-is-better", f"{3:012x}")
    assert choice_of(tmp_path / "a", (), params=2500).missing is None  # the best by proxy was trained
    assert f"--max-params 3500 --train train-{3:012x}.toml && automl-kd search" in words(
        choice_of(tmp_path / "a", (), params=3500)
    )


def test_where_only_scored_students_keep_the_limits_there_is_no_best(tmp_path):
    choice = choice_of(tmp_path / "a", two_finals(), [*proxies(1, 1, 1), *proxies(2, 2, 2)], params=2000)
    assert (choice.best, choice.smallest, choice.shown) == (None, None, ())
    assert (choice.missing.reason, choice.missing.student.architecture_id) == ("none-trained", f"{2:012x}")
    assert "No trained student has at most 2.00 k parameters; scored ones have." in words(choice)
    assert "(2.00 k parameters, 200 k MACs, 0.008 MB)" in words(choice)


def test_limits_that_none_keeps_name_the_least(tmp_path):
    with pytest.raises(ResultError, match=r"\(2 trained students and 1 scored\) has at most 500 parameters: the least"):
        choice_of(tmp_path / "a", two_finals(), proxies(1, 1, 1), params=500)
    with pytest.raises(ResultError, match=r"the least is 1\.00 k parameters; raise the limit, or search again"):
        choice_of(tmp_path / "a", (), params=500)
    cheap, small = final("c0", "c" * 12, 0.5, 50_000, macs=5), final("s0", "d" * 12, 0.5, 500)
    with pytest.raises(ResultError, match="each of these is kept by some, all together by none; raise one of them"):
        choice_of(tmp_path / "b", [cheap, small], params=500, macs=5)


def test_a_latency_that_nobody_measured_and_two_devices_are_refused(tmp_path):
    with pytest.raises(ResultError, match="has a measured latency, so --max-latency cannot be answered; limit"):
        choice_of(tmp_path / "a", two_finals(), latency_ms=5)
    two = [final(key, key * 6, 0.5, 5, latency_ms=1.0, device=key) for key in ("c0", "d0")]
    with pytest.raises(ResultError, match="measured on 'c0' and 'd0', which do not compare; say whose counts with"):
        choice_of(tmp_path / "b", two, latency_ms=5)
    archive = read_student_archive([tmp_path / "b"], "d0")
    best = choose_student(archive, Limits(latency_ms=5)).best
    assert best is not None
    assert best.keys == ("d0",)


def test_students_without_a_latency_are_counted(tmp_path):
    known = final("k0", "c" * 12, 0.5, 5, latency_ms=2.0)
    choice = choice_of(tmp_path / "a", [*two_finals(), known], proxies(1, 1, 1), latency_ms=3)
    assert choice.best.keys == ("k0",)
    assert "Left out: 2 trained and 1 scored architectures without a latency." in words(choice)
    assert "2 ms, 2e-05 MB; latency on cpu." in words(choice)


def student(number, params, val):
    return TrainedStudent(
        folder=Path(), space="s", architecture_id=str(number), values_json="{}", student="", method="kd",
        options_json="{}", init=None, roles=(), keys=(str(number),), status="complete", epochs=1.0, full_epochs=1.0,
        full=True, val_accuracies=(val,), test_accuracies=(), val_images=None,
        costs=StudentCosts(params=params, macs=1),
    )  # fmt: skip


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 20)), max_size=12))
def test_the_front_is_what_no_cheaper_one_equals(points):
    students = [student(number, params, val / 20) for number, (params, val) in enumerate(points)]
    front = find_front(students, "params")
    costs, accuracies = [one.costs.params or 0 for one in front], [one.val_accuracy for one in front]
    assert costs == sorted(set(costs))
    assert accuracies == sorted(set(accuracies))
    for one, other in itertools.product(students, front):
        assert not (one.costs.params <= other.costs.params and one.val_accuracy > other.val_accuracy)
    for one in students:  # and each student is equalled by some of the front
        assert any(f.costs.params <= one.costs.params and f.val_accuracy >= one.val_accuracy for f in front)


def test_a_cost_that_is_not_known_is_not_on_the_front():
    assert find_front([student(0, None, 0.5), student(1, 3, 0.4)], "params") == (student(1, 3, 0.4),)


def test_a_final_stands_above_a_search_trial_from_its_parent_s_weights(tmp_path):
    heir = trial("s0", "b" * 12, 0.9, 10, epochs=10, init="parent")
    finals = [final(f"f{seed}", "b" * 12, 0.8, 10, seed=seed) for seed in range(3)]
    choice = choice_of(tmp_path / "a", [heir, *finals])
    assert choice.best.keys == ("f0", "f1", "f2")
    assert choice.missing is None  # the same student, trained in full
    other = choice_of(tmp_path / "b", [trial("s1", "c" * 12, 0.9, 10, epochs=10, init="parent"), *finals])
    assert "did better in a training from its parent's weights (90.00 % after 10 epochs); train it" in words(other)
    alone = words(choice_of(tmp_path / "c", [heir, trial("s1", "c" * 12, 0.5, 10)], params=10))
    assert "its training was one of the search, from its parent's weights, after 4 epochs of 10. No" not in alone
    assert (
        "not trained in full: its training was one of the search, from its parent's weights, after 10 epochs" in alone
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "scratch"}, "trained from scratch. On validation"),
        ({"method": "scratch", "init": "teacher"}, "trained on labels alone from the teacher's weights. On"),
        ({"init": "teacher"}, "taught by kd (temperature=4, weight=0.9) from the teacher's weights. On"),
    ],
)
def test_what_a_student_was_taught_by_is_said(tmp_path, changes, said):
    choice = choice_of(tmp_path / "a", [final("f0", "f" * 12, 0.9, 10, role="found-labels", **changes)])
    assert said in words(choice)
    cell = students_sheet(choice, choice.shown).rows[0][2]
    assert ("labels alone" in cell) is ("labels alone" in said)
