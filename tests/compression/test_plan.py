"""The division of hours: it fits, it grows with the hours, and it is refused where nothing can be found."""

from __future__ import annotations

import dataclasses

import pytest

from automl_kd.compression.measured_speed import MeasuredSpeed
from automl_kd.compression.plan import (
    FEWEST_TRIALS,
    MOST_EPOCHS,
    MOST_TRIALS,
    divide_hours,
    expected_epochs,
    finals_seconds,
    fitting_epochs,
    makespan,
    plan_finals,
    plan_search,
    scaled_speed,
    search_cost,
)

SPEED = MeasuredSpeed(
    step=1e-3, teacher=5e-4, images=8000, labelled=8000, validation=900, test=3900, scratch_ratio=2.0, workers=2
)


def test_halving_spares_most_epochs_and_never_adds_any():
    assert expected_epochs(30, 1) == 1
    few, many = expected_epochs(27, 9), expected_epochs(27, 27)
    assert 1 < few < 5  # a third goes on at 1 and at 3, and the first ones more often
    assert few < many < 12


@pytest.mark.parametrize("hours", [0.3, 1, 3, 8, 24])
def test_a_plan_fits_its_hours(hours):
    plan = divide_hours(SPEED, hours * 3600, 120.0)
    assert plan.seconds + plan.reserve <= hours * 3600
    assert FEWEST_TRIALS <= plan.trials <= MOST_TRIALS
    assert 1 <= plan.finals.epochs <= MOST_EPOCHS
    assert plan.finals.seeds >= 3  # two tell nothing


def test_more_hours_give_no_less():
    plans = [divide_hours(SPEED, hours * 3600, 120.0) for hours in (0.3, 0.6, 1.2, 2.4, 4.8, 9.6)]
    work = [plan.finals.epochs * plan.finals.seeds * (plan.finals.count + 3) for plan in plans]
    assert work == sorted(work)
    assert [plan.epochs for plan in plans] == sorted(plan.epochs for plan in plans)
    assert [plan.finals.seeds for plan in plans] == sorted(plan.finals.seeds for plan in plans)


def test_a_search_costs_what_its_account_says():
    trials, epochs, seconds = plan_search(SPEED, 3000.0)
    assert seconds == search_cost(SPEED, trials, epochs) <= 3000
    epoch, tested = 8000 * 1e-3 + 900 * 1e-3 / 3, 1.5 * 3900 * 1e-3 / 3
    by_hand = trials * (expected_epochs(trials, epochs) * epoch + tested + SPEED.trial) + epochs * 8000 * 5e-4
    assert seconds == pytest.approx(by_hand)


def test_a_student_of_slow_layers_takes_longer_and_has_no_other_epochs_for_it():
    slow, plain = dataclasses.replace(SPEED, size=2.0, pace=1.5), dataclasses.replace(SPEED, size=2.0)
    once = 10 * SPEED.trial + 8000 * 5e-4
    assert search_cost(slow, 10, 1) - once == pytest.approx(1.5 * (search_cost(plain, 10, 1) - once))
    assert scaled_speed(slow, 2.0, 1.5).scratch_ratio == scaled_speed(plain, 2.0).scratch_ratio == 1.5


def test_unlabelled_images_count_in_what_scratch_is_trained_for():
    # KD: 8,000 images of 3 + 3 passes; from scratch 2,000 of 3: 8 epochs cost as much as one
    few = dataclasses.replace(SPEED, labelled=2000, scratch_ratio=8.0)
    assert few.teacher_share == pytest.approx(1.0)
    assert scaled_speed(few, 2.0).scratch_ratio == pytest.approx(6.0)


def test_a_search_of_larger_students_than_the_default_costs_more():
    larger = dataclasses.replace(SPEED, size=2.0)
    epoch, tested = 8000 * 2e-3 + 900 * 2e-3 / 3, 1.5 * 3900 * 2e-3 / 3
    assert search_cost(larger, 10, 1) == pytest.approx(10 * (epoch + tested + SPEED.trial) + 8000 * 5e-4)


def test_finals_take_what_their_trainings_take_on_two_workers():
    epoch, teacher, tested = 8000 * 1e-3 + 0.3, 8000 * 5e-4, 1.5 * 3900 * 1e-3 / 3
    by_kd = 10 * epoch + tested + SPEED.trial
    scratch = 20 * epoch + tested + SPEED.trial
    # two workers: both from scratch at once, then each one with and one without the teacher's passes
    assert finals_seconds(SPEED, 2, 1, 10) == pytest.approx(scratch + 2 * by_kd + 10 * teacher)
    chosen = 2 * by_kd + 10 * teacher
    assert finals_seconds(SPEED, 2, 2, 10) == pytest.approx(chosen + scratch + 2 * by_kd + 10 * teacher)
    larger = dataclasses.replace(SPEED, size=2.0)  # whose teacher is half as large beside it
    slow = 10 * (8000 * 2e-3 + 0.6) + 2 * tested + SPEED.trial
    beside = 15 * (8000 * 2e-3 + 0.6) + 2 * tested + SPEED.trial
    default = 15 * (epoch + teacher) + tested + SPEED.trial  # which trains longer for as many multiply-adds
    assert finals_seconds(larger, 2, 1, 10) == pytest.approx(beside + slow + default)
    twice = dataclasses.replace(SPEED, untaught=2)  # from fresh weights, and from those that it begins with
    assert finals_seconds(twice, 2, 1, 10) == pytest.approx(2 * scratch + 2 * by_kd + 10 * teacher)


def test_a_worker_without_a_training_is_idle():
    assert makespan([4.0, 3.0, 3.0], 2) == 6.0
    assert makespan([4.0, 3.0, 3.0], 3) == 4.0
    assert makespan([5.0], 8) == 5.0


def test_fitting_epochs_are_the_most_that_fit():
    found = fitting_epochs(SPEED, 3, 2, 5000.0)
    assert finals_seconds(SPEED, 3, 2, found) <= 5000 < finals_seconds(SPEED, 3, 2, found + 1)


def test_a_search_does_not_train_longer_than_its_finals():
    fast = dataclasses.replace(SPEED, step=1e-5, teacher=1e-6, scratch_ratio=5.0)
    for hours in (0.1, 0.2, 0.5, 2.0):
        plan = divide_hours(fast, hours * 3600, 60.0)
        assert plan.epochs <= plan.finals.epochs


def test_what_is_asked_for_is_taken():
    plan = divide_hours(SPEED, 3600, 120.0, epochs=5, seeds=4)
    assert (plan.finals.epochs, plan.finals.seeds) == (5, 4)


def test_seeds_come_before_length_only_where_there_is_time():
    short, long = plan_finals(SPEED, 350.0, 1), plan_finals(SPEED, 100_000.0, 1)
    assert (short.seeds, short.count) == (3, 1)
    assert (long.seeds, long.count) == (5, 3)


def test_no_trials_where_none_fits():
    assert plan_search(SPEED, 10.0) == (0, 1, 0.0)


def test_a_slower_student_has_the_teachers_share_of_its_own():
    slower = scaled_speed(SPEED, 2.0)
    assert slower.step == 2e-3
    assert slower.scratch_ratio == 1.5  # the teacher costs as much as before
    assert dataclasses.replace(slower, step=1e-3, scratch_ratio=2.0) == SPEED
