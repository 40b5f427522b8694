"""How a stage stands, with numbers that can be done in the head."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from automl_kd.console.sentences import stage_facts
from automl_kd.experiment.progress.events import StagePlan, TrialStatus
from automl_kd.experiment.progress.stage_progress import StageProgress

PLAN = StagePlan(trials=4, work=4.0, workers=2, ahead=8.0, reference="default-kd", baseline="plain KD")


class Observation:
    """A tally whose clock stands where the test puts it."""

    def __init__(self, plan: StagePlan = PLAN) -> None:
        self.now = 0.0
        self.tally = StageProgress(plan, lambda: self.now)

    def hear(self, second: float, key: str, **changes) -> Observation:
        self.now = second
        plain = TrialStatus(key=key, number=0, label=key, epochs=10)
        self.tally.notify(replace(plain, **changes))
        return self


def test_nothing_is_estimated_before_an_epoch_was_measured():
    told = Observation().hear(0, "a").hear(0, "b")
    assert told.tally.left() is None
    # The first epoch of a worker's first trial has the worker's start in it.
    assert told.hear(30, "a", epoch=1, val_accuracy=0.5).tally.left() is None
    assert dict(stage_facts(told.tally, 30.0)) == {
        "trials": "2 running, 2 to come; 2 of 2 workers busy",
        "best": "50.00 % on validation (a, epoch 1 of 10)",
        "baseline": "plain KD: not trained yet",
        "time": "30 s so far; the time left is estimated after the first epochs",
        "cost": "0 multiply-adds, 0.0 s of training",
    }


def test_what_is_left_by_hand():
    told = (
        Observation()
        .hear(0, "a")
        .hear(0, "b")
        .hear(30, "a", epoch=1)
        .hear(32, "a", epoch=2, train_macs=2e9, seconds=4.0)
    )
    # 2 s for a tenth: 20 s a training. Left: 0.8 of a, all of b and of two more, by two workers, then 8 trainings.
    left = told.tally.left()
    assert left is not None
    assert asdict(left) == pytest.approx(
        {
            "seconds": 20 * 3.8 / 2,
            "ahead_seconds": 20 * 8 / 2,
            "train_macs": 3.8 * 1e10,
            "train_seconds": 3.8 * 20,
        }
    )
    assert (
        dict(stage_facts(told.tally, 32.0))["time"]
        == "32 s so far, about 38 s left, then about 1 min 20 s for later stages"
    )


def test_trials_to_come_are_expected_to_end_where_others_did():
    told = Observation().hear(0, "a").hear(0, "b").hear(0, "a", epoch=1).hear(4, "a", epoch=3, status="stopped")
    told.hear(4, "c").hear(24, "c", epoch=10, status="complete")
    # Ended after 0.3 and 1.0: 0.65 on average. 0.2 + 1.0 trainings were measured in 24 s. Left: 0.65 of b, 0.65 of one.
    left = told.tally.left()
    assert left is not None
    assert left.seconds == pytest.approx(20 * 0.65)


def test_the_last_trial_is_waited_for_by_all():
    told = Observation().hear(0, "a").hear(0, "b").hear(0, "a", epoch=1).hear(0, "b", epoch=1)
    told.hear(18, "a", epoch=10, status="complete").hear(18, "b", epoch=5)
    for key in ("c", "d"):
        told.hear(18, key).hear(38, key, epoch=10, status="complete")
    # 0.9 + 0.4 + 1 + 1 trainings in 18 + 18 + 20 + 20 s. One worker has half of one to go: not a quarter for each.
    left = told.tally.left()
    assert left is not None
    assert left.seconds == pytest.approx(0.5 * 76 / 3.3)


def test_what_an_earlier_sitting_did_costs_but_says_nothing_of_the_pace():
    told = Observation().hear(
        0, "a", epoch=10, status="complete", recorded=True, train_macs=5e9, seconds=7.0, val_accuracy=0.9
    )
    assert told.tally.left() is None
    assert (told.tally.train_macs, told.tally.train_seconds, told.tally.busy) == (5e9, 7.0, 0)


def test_the_baseline_is_no_candidate_and_the_best_is_compared_with_it():
    told = Observation().hear(0, "a", epoch=10, status="complete", val_accuracy=0.91)
    told.hear(0, "b", epoch=10, status="complete", val_accuracy=0.93, roles=("default-kd",))
    told.hear(0, "c", epoch=10, status="failed", val_accuracy=0.99)
    told.hear(0, "d", epoch=9, val_accuracy=0.98)
    said = dict(stage_facts(told.tally, 1.0))
    assert said["best"] == "91.00 % on validation (a), -2.00 points from the baseline"
    assert said["baseline"] == "plain KD: 93.00 %"
    assert said["trials"] == "1 running, 2 complete, 1 failed; 1 of 2 workers busy"
    # One that stands for both roles is the found student too.
    told.hear(0, "b", epoch=10, status="complete", val_accuracy=0.93, roles=("default-kd", "found-method"))
    assert dict(stage_facts(told.tally, 1.0))["best"] == "93.00 % on validation (b), 0.00 points from the baseline"


def test_what_is_on_record_is_said_until_the_stage_knows_better():
    plan = replace(PLAN, known={"teacher": 0.99, "plain KD": 0.9})
    told = Observation(plan)
    assert dict(stage_facts(told.tally, 1.0))["baseline"] == "plain KD: 90.00 %; teacher: 99.00 %"
    told.hear(0, "b", epoch=10, status="complete", val_accuracy=0.8, roles=("default-kd",))
    assert told.tally.baseline == 0.8


def test_a_scheduler_may_put_trials_aside_which_keeps_no_worker_busy():
    told = Observation()
    for key in "abc":
        told.hear(0, key)
    assert told.tally.busy == 2


def test_a_plan_without_trials_is_none():
    with pytest.raises(ValueError, match="needs trials and workers"):
        StagePlan(trials=0, work=1.0, workers=1)
