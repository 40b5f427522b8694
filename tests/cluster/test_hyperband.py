"""Brackets by hand, and what HyperBand does with trials that are only pretended."""

from __future__ import annotations

from typing import Any

import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from automl_kd.cluster.hyperband import Bracket, HyperBand, brackets, deepest_bracket, fewest, rungs
from automl_kd.cluster.schedulers import Forward, unhalved
from automl_kd.cluster.tune_searcher import Assignment
from automl_kd.config import SearchSection
from tests import tiny

CONTINUE, PAUSE, STOP = TrialScheduler.CONTINUE, TrialScheduler.PAUSE, TrialScheduler.STOP


def test_brackets_by_hand():
    # R = 15, eta = 3: s = 2 begins with 9 trials of 15 / 9 epochs, s = 1 with 5 of 5; of s = 0, 3 of 15, a tenth of 34
    assert [rungs(s, 15, 3) for s in (2, 1, 0)] == [(1, 5, 15), (5, 15), (15,)]
    assert [(one.size, one.kept, one.unhalved) for one in brackets(34, 15, 3)] == [
        (9, (3, 1), 0),
        (5, (2,), 0),
        (3, (), 3),
        (9, (3, 1), 0),
        (5, (2,), 0),
        (3, (1, 1), 0),
    ]


def test_none_of_a_dozen_trials_is_left_to_itself():
    assert [(one.size, one.rungs, one.kept) for one in brackets(12, 15, 3)] == [
        (9, (1, 5, 15), (3, 1)),
        (3, (5, 15), (1,)),
    ]


def test_the_paper_s_own_example():
    # table 1: R = 81, eta = 3; the first bracket is 81, 27, 9, 3, 1 trials of 1, 3, 9, 27, 81 epochs
    first, second = brackets(10_000, 81, 3)[:2]
    assert (first.size, first.rungs, first.kept) == (81, (1, 3, 9, 27, 81), (27, 9, 3, 1))
    assert (second.rungs, deepest_bracket(81, 3)) == ((3, 9, 27, 81), 4)


@pytest.mark.parametrize("reduction", [1.5, 2, 3, 4])
@pytest.mark.parametrize("epochs", [2, 3, 15, 81])
def test_every_trial_has_a_place_and_at_most_one_in_ten_is_never_halved(epochs, reduction):
    for trials in range(fewest(reduction), 200):
        plan = brackets(trials, epochs, reduction)
        assert sum(one.size for one in plan) == trials
        assert {one.rungs[-1] for one in plan} == {epochs}
        assert sum(one.unhalved for one in plan) <= trials / 10


def test_the_plan_says_how_many_are_never_halved():
    search = SearchSection(scheduler="hyperband", trials=17)
    assert unhalved(search, 15) == "hyperband compares 11 from epoch 1 on, 5 from epoch 5 on; 1 of 17 never"
    assert unhalved(search, 1) == "hyperband compares none; 17 of 17 never"
    assert unhalved(SearchSection(), 15) == ""


class Pretended:
    """A trial of Tune."""

    def __init__(self, name: int) -> None:
        self.trial_id, self.status = f"t{name}", Trial.RUNNING

    def __repr__(self) -> str:
        return self.trial_id


class Controller:
    """Ends trials as Tune does, which tells the scheduler of it."""

    def __init__(self, scheduler: Forward) -> None:
        self.scheduler, self.stopped = scheduler, list[str]()

    def stop_trial(self, trial: Pretended) -> None:
        self.stopped.append(trial.trial_id)
        trial.status = Trial.TERMINATED
        self.scheduler.on_trial_remove(self, trial)


class Course:
    """One after the other, each trial goes on until it is paused or ended, and then the next that may."""

    def __init__(self, plan: list[Bracket], scores: list[float]) -> None:
        self.scheduler = Forward(HyperBand(plan, time_attr="epoch", metric="score"))
        self.controller = Controller(self.scheduler)
        self.trials = [Pretended(number) for number in range(len(scores))]
        self.scores = scores
        self.reached = dict.fromkeys(self.trials, 0)

    def add(self, number: int) -> Pretended:
        trial = self.trials[number]
        trial.status = Trial.PENDING
        self.scheduler.on_trial_add(self.controller, trial)
        return trial

    def go(self, trial: Pretended) -> str:
        """What ended this part of it."""
        trial.status, decision = Trial.RUNNING, str(CONTINUE)
        while decision == CONTINUE:
            self.reached[trial] += 1
            result = {"epoch": self.reached[trial], "score": self.scores[self.trials.index(trial)]}
            decision = self.scheduler.on_trial_result(self.controller, trial, result)
        if decision == STOP:
            trial.status = Trial.TERMINATED
            self.scheduler.on_trial_complete(self.controller, trial, result)
        else:
            trial.status = Trial.PAUSED
        return decision

    def finish(self) -> dict[str, int]:
        while (trial := self.scheduler.choose_trial_to_run(self.controller)) is not None:
            self.go(trial)
        return {trial.trial_id: epoch for trial, epoch in self.reached.items()}


PLAN = [Bracket(4, (1, 2, 6), 2), Bracket(2, (3, 6), 2)]
SCORES = [0.4, 0.1, 0.3, 0.2, 0.5, 0.6]


def test_a_search_by_hand():
    course = Course(PLAN, SCORES)
    for number in range(6):
        course.go(course.add(number))
    # of four the best two go on to epoch 2, and the better of them to the end; of two the better from epoch 3 on
    assert course.controller.stopped == ["t1", "t4"]
    assert course.finish() == {"t0": 6, "t1": 1, "t2": 2, "t3": 1, "t4": 3, "t5": 6}


def test_of_equals_the_earlier_goes_on():
    course = Course([Bracket(2, (1, 3), 2)], [0.5, 0.5])
    for number in range(2):
        course.go(course.add(number))
    assert course.finish() == {"t0": 3, "t1": 1}


def test_a_trial_that_fails_is_waited_for_no_longer():
    course = Course(PLAN[:1], SCORES[:4])
    failing, *others = [course.add(number) for number in range(4)]
    for trial in others:
        course.go(trial)
    assert course.controller.stopped == []
    course.scheduler.on_trial_error(course.controller, failing)
    assert course.controller.stopped == ["t1"]
    assert course.finish() == {"t0": 0, "t1": 1, "t2": 6, "t3": 2}


def test_a_bracket_that_never_fills_is_compared_when_there_are_no_more():
    course = Course(PLAN, SCORES[:3])
    for number in range(3):
        course.go(course.add(number))
    assert course.scheduler.choose_trial_to_run(course.controller) is None  # all wait for the fourth
    course.scheduler.close()
    assert course.finish() == {"t0": 6, "t1": 1, "t2": 2}


def test_more_trials_than_were_announced_run_to_their_end():
    course = Course(PLAN[1:], SCORES[:3])
    for number in range(3):
        course.go(course.add(number))
    assert course.finish()["t2"] == 6


def assignment(root: Any, score: float, epochs: int) -> Assignment:
    spec = tiny.spec()
    return Assignment(spec=spec, paths=tiny.place(root, spec), replay=[{"score": score}] * epochs)


@pytest.mark.parametrize("killed", range(1, 7))
def test_wherever_it_was_broken_off_the_rest_is_decided_as_before(tmp_path, killed):
    # The first `killed` trials to have ended in an unbroken course are repeated from their record, in the order in
    # which they were proposed; the others are trained anew.
    whole = Course(PLAN, SCORES)
    for number in range(6):
        whole.go(whole.add(number))
    expected = whole.finish()
    ended = sorted(expected, key=lambda name: (expected[name] == 6, name))[:killed]
    course = Course(PLAN, SCORES)
    for number in range(6):
        if (name := f"t{number}") in ended:
            course.scheduler.repeat(assignment(tmp_path, SCORES[number], expected[name]))
        else:
            course.go(course.add(number))
    again = course.finish()
    assert {name: epoch for name, epoch in again.items() if name not in ended} == {
        name: epoch for name, epoch in expected.items() if name not in ended
    }
