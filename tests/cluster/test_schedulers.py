"""Which scheduler an experiment gets, and that it sees every epoch of a trial once."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import ray
from ray.tune.schedulers import ASHAScheduler, MedianStoppingRule, TrialScheduler

from automl_kd.cluster.hyperband import Ghost, HyperBand
from automl_kd.cluster.schedulers import Forward, make_scheduler, max_unfinished_trials
from automl_kd.cluster.tune_searcher import Assignment
from automl_kd.config import Range, Resources, SearchSection
from tests import tiny

PERTURB = {"recipe.lr": Range(low=0.1, high=0.2)}


class Noting(TrialScheduler):  # type: ignore[misc]  # ray is untyped here
    """Notes what reaches it, and stops every trial."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, int]] = []

    def on_trial_result(self, controller, trial, result):
        self.told.append(("result", result["epoch"]))
        return TrialScheduler.STOP

    def on_trial_complete(self, controller, trial, result):
        self.told.append(("complete", result["epoch"]))

    def on_trial_remove(self, controller, trial):
        self.told.append(("remove", 0))


def trial(name: str) -> Any:
    return SimpleNamespace(trial_id=name)


@pytest.mark.parametrize(
    ("name", "kind"), [("asha", ASHAScheduler), ("hyperband", HyperBand), ("median", MedianStoppingRule)]
)
def test_the_scheduler_is_the_one_that_was_named(name, kind):
    made = make_scheduler(SearchSection(scheduler=name), 9)
    assert isinstance(made, Forward)
    assert type(made.inner) is kind


@pytest.mark.parametrize(
    "search", [SearchSection(scheduler="none"), SearchSection(scheduler="pbt", perturb=PERTURB), None]
)
def test_a_search_without_early_ends_has_no_scheduler(search):
    assert make_scheduler(search, 9) is None


def test_epochs_that_were_seen_and_reports_without_one_do_not_reach_the_scheduler():
    inner = Noting()
    forward = Forward(inner)
    stop, go_on = TrialScheduler.STOP, TrialScheduler.CONTINUE
    answers = [forward.on_trial_result(None, trial("a"), {"epoch": epoch}) for epoch in (1, 2, 1, 2, 3)]
    assert answers == [stop, stop, go_on, go_on, stop]
    assert forward.on_trial_result(None, trial("b"), {"epoch": 1}) == stop
    assert forward.on_trial_result(None, trial("b"), {"error": "TrialError: no luck"}) == go_on
    forward.on_trial_complete(None, trial("a"), {"epoch": 3})
    forward.on_trial_complete(None, trial("b"), {"error": "TrialError: no luck"})
    forward.on_trial_complete(None, trial("c"), {"epoch": 1})
    results = [("result", 1), ("result", 2), ("result", 3), ("result", 1)]
    assert inner.told == [*results, ("remove", 0), ("remove", 0), ("complete", 1)]


def decide(forward: Forward, name: str, replay: list[dict[str, float]]) -> int:
    """How far a trial comes that runs alone and would report all this."""
    one = Ghost(name)
    forward.on_trial_add(None, one)
    for epoch, metrics in enumerate(replay, start=1):
        result = {**metrics, "epoch": epoch}
        if forward.on_trial_result(None, one, result) == TrialScheduler.STOP:
            break
    forward.on_trial_complete(None, one, result)
    return epoch


@pytest.mark.parametrize("killed", [1, 4, 9])
@pytest.mark.parametrize("search", [SearchSection(grace_epochs=1), SearchSection(scheduler="median", grace_epochs=2)])
def test_after_trials_that_are_only_repeated_the_others_are_decided_as_after_real_ones(tmp_path, search, killed):
    rng = np.random.default_rng(0)
    curves = [[{"val_accuracy": float(value)} for value in rng.random(9)] for _ in range(10)]
    whole, broken = (make_scheduler(search, 9) for _ in range(2))
    assert whole is not None
    assert broken is not None
    came = [decide(whole, f"t{number}", curve) for number, curve in enumerate(curves)]
    assert len(set(came)) > 1  # some were stopped
    spec = tiny.spec()
    for curve, epoch in zip(curves[:killed], came[:killed], strict=True):
        recorded = Assignment(spec=spec, paths=tiny.place(tmp_path, spec), replay=curve[:epoch])
        assert broken.repeat(recorded) == epoch
    assert [decide(broken, f"t{number}", curves[number]) for number in range(killed, 10)] == came[killed:]


def test_hyperband_alone_is_not_limited_by_trials_that_wait(monkeypatch):
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 4.0}}])
    assert max_unfinished_trials(SearchSection(scheduler="hyperband"), Resources()) == sys.maxsize
    assert max_unfinished_trials(SearchSection(scheduler="asha"), Resources(max_concurrent=3)) == 3
    assert max_unfinished_trials(None, Resources()) == 4
