"""Trials of two workers under Ray Tune: the same numbers as of one, deaths survived, losers stopped."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import pytest
import ray
import torch

from automl_kd.config import Resources, SearchSection
from automl_kd.methods import run_trial
from automl_kd.spec import Outcome, Recipe, TrialSpec
from tests import tiny
from tests.cluster.test_tune_runner import SearchSession, width_of

pytestmark = [pytest.mark.ray, pytest.mark.long]

TWO = Resources(device="cpu", workers=2)


def struck(how: str, width: int) -> TrialSpec:
    """In float64 and without dropout, so that one process computes the same."""
    return tiny.spec(
        space="tests.training.distributed_trials:SPACE",
        width=width,
        method="tests.cluster.distributed_methods:Struck",
        options={"how": how},
    )


KILLED, FAILED = struck("killed", 4), struck("failed", 5)


@pytest.fixture(scope="module")
def sitting(ray_session, tmp_path_factory) -> SearchSession:
    """Two trials at once on four processors: a worker of the one is killed, one of the other fails."""
    return SearchSession(tmp_path_factory.mktemp("team")).run([KILLED, FAILED], TWO)


def test_a_killed_worker_is_replaced_and_the_numbers_are_those_of_one_process(sitting, tmp_path):
    alone, place = tiny.Recorder(), tiny.place(tmp_path, KILLED)
    run_trial(KILLED, alone, place)
    assert (sitting.outcomes[4].status, sorted(sitting.curves[4])) == ("complete", [1, 2, 3])
    assert sitting.trained(KILLED) == ["1", "2", "2", "3"]  # the second time from the first epoch's checkpoint
    for epoch, metrics in alone.seen.items():
        found = sitting.curves[4][epoch]
        assert found.keys() == metrics.keys()
        for name in ("train_loss", "val_loss", "val_accuracy", "train_macs"):
            assert found[name] == pytest.approx(metrics[name], rel=1e-5)
    one, two = (torch.load(folder / "student.pt") for folder in (place.trial, place_of(sitting, KILLED)))
    torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-9)


def test_what_workers_had_is_free_when_their_trials_have_ended(sitting):
    assert all_free()


def all_free() -> bool:
    """Whether nothing of the session's four processors is set aside, after some seconds."""
    end = time.monotonic() + 30
    while (free := ray.available_resources().get("CPU")) != 4 and time.monotonic() < end:
        time.sleep(0.2)
    return bool(free == 4)


def place_of(session: SearchSession, spec: TrialSpec) -> Path:
    return tiny.place(session.root, spec).trial


def test_a_failing_worker_ends_the_trial_with_its_reason_and_without_a_second_try(sitting):
    failed = sitting.outcomes[5]
    assert (failed.status, failed.error, failed.epoch) == ("failed", "RuntimeError: this worker never works", 1)
    assert sitting.trained(FAILED) == ["1", "2"]


def test_as_many_trials_run_at_once_as_there_is_room_for_their_workers(sitting):
    assert sitting.peak == 2


def test_a_scheduler_stops_all_workers_of_a_trial(ray_session, tmp_path):
    specs = [tiny.spec(width=width, recipe=Recipe(epochs=9, batch_size=16)) for width in (9, 3)]
    search = SearchSection(scheduler="asha", grace_epochs=1, reduction=2.0)
    sitting = SearchSession(tmp_path).run(specs, dataclasses.replace(TWO, max_concurrent=1), search)
    assert (sitting.outcomes[9].status, sitting.outcomes[9].epoch) == ("complete", 9)
    assert sitting.outcomes[3] == Outcome(status="stopped", metrics=tiny.pretended(3, 1, 9), epoch=1)
    assert set(sitting.trained(specs[1])) == {"1"}
    assert [width_of(spec) for spec in specs] == sitting.order
    assert all_free()  # also what the stopped one had, whose launcher was killed
