"""Workers pass from one run of Tune to the next; those that died between two runs are not waited for."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from automl_kd.cluster.lasting_workers import IdleWorker, WorkerPool, worker_pool
from automl_kd.cluster.tune_runner import run_trials
from automl_kd.cluster.tune_searcher import Assignment
from automl_kd.config import Resources, SearchSection
from automl_kd.spec import Outcome
from tests import tiny
from tests.cluster.test_tune_runner import SearchSession

pytestmark = pytest.mark.ray

ALONE = Resources(device="cpu", max_concurrent=1)
HALVING = SearchSection(sampler="random", trials=4, scheduler="asha", grace_epochs=1)


def told_by(worker: IdleWorker, ask: Callable[[Any], Any]) -> Any:
    return ray.get(worker.actor.execute.remote(ask))


def process_of(_: Any) -> int:
    return os.getpid()


def folder_of(_: Any) -> str:
    return str(Path.cwd())


def threads_of(_: Any) -> list[str]:
    return [type(one).__name__ for one in threading.enumerate()]


def processes(pool: WorkerPool) -> set[int]:
    return {told_by(worker, process_of) for worker in pool.waiting}


def run(root: Path, pool: WorkerPool, *widths: int, search: SearchSection | None = None) -> dict[int, Outcome]:
    specs = [tiny.spec(width=width, options={"seconds": 0.05}) for width in widths]
    return SearchSession(root).run(specs, ALONE, search, workers=pool).outcomes


@pytest.fixture(scope="module")
def pool(ray_session) -> Iterator[WorkerPool]:
    with worker_pool() as pool:
        assert pool is not None
        yield pool


@pytest.fixture(scope="module")
def first(pool, tmp_path_factory) -> set[int]:
    """The workers that a first run left."""
    run(tmp_path_factory.mktemp("first"), pool, 2, 3, 4)
    return processes(pool)


def test_they_step_out_of_the_folder_of_their_last_trial(pool, first):
    assert first
    assert {told_by(worker, folder_of) for worker in pool.waiting} == {"/"}


def test_the_next_run_has_the_workers_of_the_last(pool, first, tmp_path):
    found = run(tmp_path, pool, 5, 6, 7, 8)
    assert {width: one.status for width, one in found.items()} == dict.fromkeys((5, 6, 7, 8), "complete")
    assert first <= processes(pool)


def test_a_run_with_a_scheduler_has_them_too(pool, first, tmp_path):
    found = run(tmp_path, pool, 9, 8, 3, 2, search=HALVING)
    assert len(found) == 4
    assert "stopped" in {one.status for one in found.values()}
    assert first <= processes(pool)
    for worker in pool.waiting:
        assert "RunnerThread" not in told_by(worker, threads_of), "a stopped trial keeps its memory and its time limit"


def test_one_that_dies_idle_within_a_run_costs_no_trial(pool, first, tmp_path):
    specs = [tiny.spec(width=width, options={"seconds": 0.05}) for width in (4, 5)]
    outcomes = []

    def ask(index: int) -> Assignment | None:
        if index == 1:  # the first trial has ended, and its worker waits
            for process in first:
                os.kill(process, signal.SIGKILL)
        return Assignment(spec=specs[index], paths=tiny.place(tmp_path, specs[index])) if index < 2 else None

    run_trials(
        ask,
        on_epoch=lambda *_: None,
        on_outcome=lambda _spec, outcome, _curve: outcomes.append(outcome.status),
        resources=dataclasses.replace(ALONE, retries=0),
        search=None,
        epochs=3,
        scratch=tmp_path,
        workers=pool,
    )
    assert outcomes == ["complete", "complete"]
    assert processes(pool).isdisjoint(first)


def test_workers_with_other_resources_end(pool, first, tmp_path):
    before = processes(pool)
    assert before
    SearchSession(tmp_path).run([tiny.spec(width=3)], Resources(device="cpu", cpus=2, max_concurrent=1), workers=pool)
    assert processes(pool).isdisjoint(before)


def test_those_that_died_between_two_runs_are_replaced(pool, first, tmp_path):
    gone = processes(pool)
    for process in gone:
        os.kill(process, signal.SIGKILL)
    found = run(tmp_path, pool, 4, 5, 6)
    assert {one.status for one in found.values()} == {"complete"}
    assert processes(pool).isdisjoint(gone)


def test_they_end_with_their_pool_and_leave_room(pool, first):
    with worker_pool() as own:
        assert own is not None
        own.leave(pool.take())
        ended = [worker.actor for worker in own.waiting]
    assert ended
    for actor in ended:
        with pytest.raises(ray.exceptions.RayActorError):
            ray.get(actor.execute.remote(process_of), timeout=20)
    end = time.monotonic() + 20
    while ray.available_resources().get("CPU") != ray.cluster_resources()["CPU"]:
        assert time.monotonic() < end, ray.available_resources()
        time.sleep(0.1)
