"""Our side of Tune's `Searcher` interface, without Ray: what is handed out, gathered, and kept when it goes wrong."""

from __future__ import annotations

import dataclasses
import math
import pickle

import pytest
from ray.tune.search import Searcher

from automl_kd.cluster.tune_searcher import (
    Assignment,
    AssignmentSearcher,
    Failure,
    Live,
    from_config,
    outcome_of,
    own_metrics,
    to_config,
)
from automl_kd.errors import ConfigError
from automl_kd.spec import Outcome
from tests import tiny

TUNE_RESULT = {
    "val_accuracy": 0.5,
    "params": 30,
    "lr": 0.0,
    "epoch": 2,
    "config": {"threads": 1},
    "config/threads": 1,
    "trial_id": "a1",
    "experiment_id": "b2",
    "date": "2026-01-02_03-04-05",
    "timestamp": 1767322800,
    "time_this_iter_s": 0.1,
    "time_total_s": 0.2,
    "time_since_restore": 0.2,
    "timesteps_total": 7,
    "training_iteration": 2,
    "iterations_since_restore": 2,
    "warmup_time": 0.01,
    "pid": 99,
    "hostname": "here",
    "node_ip": "127.0.0.1",
    "done": False,
    "should_checkpoint": True,
}
"""One epoch as Tune passes it on."""


def assignment(root, width=4, replay=None) -> Assignment:
    spec = tiny.spec(width=width)
    return Assignment(spec=spec, paths=tiny.place(root, spec), replay=replay)


class Driver:
    """Two assignments, and everything that is called back; the callbacks raise what they are told to."""

    def __init__(self, root) -> None:
        self.assignments = [assignment(root, 4), assignment(root, 5)]
        self.epochs: list[tuple[str, int]] = []
        self.outcomes: list[Outcome] = []
        self.curves: list[dict[int, dict[str, float]]] = []
        self.ask_error: Exception | None = None
        self.outcome_error: Exception | None = None
        self.searcher = AssignmentSearcher(self.ask, self.on_epoch, self.on_outcome, long_seconds=math.inf)

    def ask(self, index):
        if self.ask_error:
            raise self.ask_error
        return self.assignments[index] if index < 2 else None

    def on_epoch(self, spec, metrics, epoch):
        self.epochs.append((spec.key, epoch))

    def on_outcome(self, spec, outcome, curve):
        self.outcomes.append(outcome)
        self.curves.append(dict(curve))
        if self.outcome_error:
            raise self.outcome_error


@pytest.fixture
def driver(tmp_path):
    return Driver(tmp_path)


def epoch(number: int, accuracy: float = 0.5) -> dict[str, object]:
    return {**TUNE_RESULT, "epoch": number, "val_accuracy": accuracy}


def test_metrics_are_ours_alone():
    assert own_metrics(TUNE_RESULT) == {"val_accuracy": 0.5, "params": 30, "lr": 0.0}


@pytest.mark.parametrize("failure", [None, Failure("it was nan", "diverged")])
@pytest.mark.parametrize("replay", [None, [{"val_accuracy": 0.25}, {"val_accuracy": 0.5, "params": 30.0}]])
def test_what_a_worker_reads_is_what_was_assigned(tmp_path, replay, failure):
    given = dataclasses.replace(assignment(tmp_path, replay=replay), failure=failure)
    given = dataclasses.replace(
        given, paths=dataclasses.replace(given.paths, pausable=True, checkpoint_minutes=0.5, int8=True)
    )
    assert from_config(pickle.loads(pickle.dumps(to_config(given)))) == given


def test_assignments_are_handed_out_in_order_until_there_are_none(driver):
    handed = [driver.searcher.suggest(trial) for trial in ("t0", "t1")]
    assert [from_config(config) for config in handed] == driver.assignments
    assert driver.searcher.suggest("t2") == Searcher.FINISHED


def test_after_a_long_choice_the_chosen_trial_begins_before_the_next_choice(driver):
    driver.searcher.long_seconds = -1.0
    handed = [driver.searcher.suggest(trial) for trial in ("t0", "t1", "t1", "t2", "t2")]
    assert [from_config(handed[0]), handed[1]] == [driver.assignments[0], None]
    assert [from_config(handed[2]), *handed[3:]] == [driver.assignments[1], None, Searcher.FINISHED]


def test_a_trial_to_its_end_by_hand(driver):
    driver.searcher.suggest("t0")
    # epoch 1 twice, as after a restart: the later report counts, once
    for result in (epoch(1, 0.1), epoch(1, 0.2), epoch(2, 0.3)):
        driver.searcher.on_trial_result("t0", result)
    driver.searcher.on_trial_complete("t0", epoch(3, 0.4))
    (outcome,), (curve,) = driver.outcomes, driver.curves
    assert (outcome.status, outcome.epoch, outcome.metrics["val_accuracy"]) == ("complete", 3, 0.4)
    assert {number: metrics["val_accuracy"] for number, metrics in curve.items()} == {1: 0.2, 2: 0.3, 3: 0.4}
    key = driver.assignments[0].spec.key
    assert driver.epochs == [(key, 1), (key, 1), (key, 2), (key, 3)], "the last epoch too, which comes with the end"
    assert not driver.searcher.live


def test_what_a_worker_says_of_the_last_epoch_is_passed_on(driver):
    driver.searcher.suggest("t0")
    driver.searcher.on_trial_result("t0", epoch(2))
    driver.searcher.on_trial_complete("t0", {**epoch(3), "note": "no accuracy in eight bits"})
    assert driver.outcomes[0].note == "no accuracy in eight bits"
    assert "note" not in driver.outcomes[0].metrics


def test_what_a_method_says_of_its_search_is_handed_on(driver):
    driver.searcher.suggest("t0")
    driver.searcher.on_trial_complete("t0", {**epoch(3), "remark": "the search removed nothing"})
    assert driver.outcomes[0].remark == "the search removed nothing"


def test_a_trial_that_ends_before_its_last_epoch_was_stopped(driver):
    driver.searcher.suggest("t0")
    driver.searcher.on_trial_complete("t0", epoch(2))
    assert (driver.outcomes[0].status, driver.outcomes[0].epoch) == ("stopped", 2)


def test_a_reported_error_makes_a_failed_trial_with_what_it_had_measured(driver):
    driver.searcher.suggest("t0")
    driver.searcher.on_trial_result("t0", epoch(1))
    driver.searcher.on_trial_result("t0", {"error": "TrialError: no luck"})
    driver.searcher.on_trial_complete("t0", {"error": "TrialError: no luck", "done": True})
    (outcome,) = driver.outcomes
    assert (outcome.status, outcome.error, outcome.epoch) == ("failed", "TrialError: no luck", 1)
    assert outcome.metrics["val_accuracy"] == 0.5


def test_what_failed_and_goes_on_after_all_did_not_fail(driver):
    driver.searcher.suggest("t0")
    driver.searcher.on_trial_result("t0", epoch(1))
    driver.searcher.on_trial_result("t0", {"error": "OSError: gone", "failure_kind": "storage"})
    for number in (1, 2, 3):
        driver.searcher.on_trial_result("t0", epoch(number))
    driver.searcher.on_trial_complete("t0", epoch(3))
    assert (driver.outcomes[0].status, driver.outcomes[0].failure_kind) == ("complete", None)


def test_a_reported_reason_is_the_outcomes_also_where_the_process_died_of_it(driver):
    driver.searcher.suggest("t0")
    driver.searcher.on_trial_result("t0", {"error": "MemoryError: ", "failure_kind": "memory"})
    driver.searcher.on_trial_complete("t0", None, error=True)
    assert (driver.outcomes[0].error, driver.outcomes[0].failure_kind) == ("MemoryError: ", "memory")


def test_a_process_that_was_ended_for_taking_too_long_says_so(driver):
    trial = driver.assignments[0].paths.trial
    trial.mkdir(parents=True)
    (trial / "overdue.txt").write_text('Thread 0x1 (most recent call first):\n  File "/a/b.py", line 7 in fit\n')
    driver.searcher.suggest("t0")
    driver.searcher.on_trial_complete("t0", None, error=True)
    assert driver.outcomes[0].failure_kind == "timeout"
    assert driver.outcomes[0].error.partition(";")[0].endswith("was ended in fit (b.py, line 7)")


def test_a_worker_that_died_makes_a_failed_trial_with_a_reason(driver):
    driver.searcher.suggest("t0")
    driver.searcher.on_trial_complete("t0", None, error=True)
    assert driver.outcomes == [
        Outcome(
            status="failed",
            metrics={},
            epoch=0,
            error="its worker process died (killed, crashed or out of memory)",
            failure_kind="died",
        )
    ]


def test_a_trial_of_which_nothing_was_heard_did_not_complete(tmp_path):
    assert outcome_of(Live(assignment(tmp_path))) == Outcome(status="stopped", metrics={}, epoch=0)


def test_trials_unknown_to_us_are_left_alone(driver):
    driver.searcher.on_trial_result("other", epoch(1))
    driver.searcher.on_trial_complete("other", epoch(3))
    assert not driver.outcomes
    assert not driver.epochs


def test_no_more_are_handed_out_than_there_is_room_for_by_now(driver):
    room = 0
    driver.searcher.room = lambda: room
    assert driver.searcher.suggest("t0") is None
    room = 1
    assert driver.searcher.suggest("t0") is not None
    assert driver.searcher.suggest("t1") is None
    room = 2  # a machine has joined
    assert driver.searcher.suggest("t1") is not None


REPLAY = [{"val_accuracy": 0.1 * number} for number in (1, 2, 3)]


def test_trials_of_earlier_sittings_are_repeated_here_without_one_of_tune(driver, tmp_path):
    settled = Failure("the loss is not finite", "diverged")
    driver.assignments = [
        assignment(tmp_path, 4, REPLAY),
        assignment(tmp_path, 5, REPLAY[:1]),
        dataclasses.replace(assignment(tmp_path, 6, []), failure=settled),
        assignment(tmp_path, 7),
    ]
    driver.ask = driver.searcher.ask = lambda index: driver.assignments[index] if index < 4 else None
    assert from_config(driver.searcher.suggest("t0")) == driver.assignments[3]
    assert list(driver.searcher.live) == ["t0"]
    assert [(one.status, one.epoch, one.failure_kind) for one in driver.outcomes] == [
        ("complete", 3, None),
        ("stopped", 1, None),
        ("failed", 0, "diverged"),
    ]
    assert driver.curves[0] == dict(enumerate(REPLAY, start=1))
    assert [epoch for _, epoch in driver.epochs] == [1, 2, 3, 1]


def test_an_error_while_repeating_is_kept_and_ends_the_run(driver, tmp_path):
    driver.assignments, driver.outcome_error = [assignment(tmp_path, 4, REPLAY)] * 2, OSError("no space left")
    assert driver.searcher.suggest("t0") == Searcher.FINISHED
    assert driver.searcher.failure is driver.outcome_error
    assert len(driver.outcomes) == 1


def test_an_error_in_ask_is_kept_and_ends_the_run(driver):
    driver.ask_error = ConfigError("no proposals today")
    assert driver.searcher.suggest("t0") == Searcher.FINISHED
    assert driver.searcher.failure is driver.ask_error
    driver.ask_error = None
    assert driver.searcher.suggest("t1") == Searcher.FINISHED


def test_an_error_in_on_outcome_is_kept_ends_the_run_and_records_no_more(driver):
    driver.outcome_error = OSError("no space left")
    driver.searcher.suggest("t0")
    driver.searcher.suggest("t1")
    driver.searcher.on_trial_complete("t0", epoch(3))
    assert driver.searcher.failure is driver.outcome_error
    driver.searcher.on_trial_complete("t1", epoch(3))
    assert len(driver.outcomes) == 1
    assert driver.searcher.suggest("t2") == Searcher.FINISHED


def test_an_error_in_on_epoch_is_kept_and_ends_the_run(driver, monkeypatch):
    def fail(spec, metrics, number):
        raise OSError("the terminal is gone")

    monkeypatch.setattr(driver.searcher, "on_epoch", fail)
    driver.searcher.suggest("t0")
    driver.searcher.on_trial_result("t0", epoch(1))
    assert isinstance(driver.searcher.failure, OSError)


def test_tune_can_save_it_and_finds_nothing_in_it(driver, tmp_path):
    driver.searcher.suggest("t0")
    driver.searcher.save(str(tmp_path / "state"))
    driver.searcher.restore(str(tmp_path / "state"))
    assert driver.searcher.__getstate__() == {}
    assert (tmp_path / "state").read_bytes() == b""
    assert driver.searcher.live
