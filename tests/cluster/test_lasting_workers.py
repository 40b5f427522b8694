"""Workers pass from one run of Tune to the next; those that died between two runs are not waited for."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray

from automl_kd.cluster.lasting_workers import Worker, WorkerPool, worker_pool
from automl_kd.config import Resources, SearchSection
from automl_kd.spec import Outcome
from tests import tiny
from tests.cluster.test_tune_runner import SearchSession

pytestmark = pytest.mark.ray

TWO = Resources(device="cpu", max_concurrent=2)


def told_by(worker: Worker, ask: Callable[[Any], Any]) -> Any:
    return ray.get(worker.actor.execute.remote(ask))


def process_of(_: Any) -> int:
    return os.getpid()


def folder_of(_: Any) -> str:
    return str(Path.cwd())


def processes(pool: WorkerPool) -> set[int]:
    return {told_by(worker, process_of) for worker in pool.waiting}


def run(root: Path, pool: WorkerPool, *widths: int, search: SearchSection | None = None) -> dict[int, Outcome]:
    specs = [tiny.spec(width=width, options={"seconds": 0.05}) for width in widths]
    return SearchSession(root).run(specs, TWO, search, workers=pool).outcomes


def test_the_next_run_has_the_workers_of_the_last(ray_session, tmp_path):
    with worker_pool() as pool:
        run(tmp_path, pool, 2, 3, 4)
        first = processes(pool)
        assert first
        assert {told_by(worker, folder_of) for worker in pool.waiting} == {"/"}, "that of the last trial is gone"
        found = run(tmp_path, pool, 5, 6, 7, 8)
        assert {width: one.status for width, one in found.items()} == dict.fromkeys((5, 6, 7, 8), "complete")
        assert first <= processes(pool)
        ended = [worker.actor for worker in pool.waiting]
    for actor in ended:
        with pytest.raises(ray.exceptions.RayActorError):
            ray.get(actor.execute.remote(process_of), timeout=20)


def test_a_scheduler_of_another_run_finds_them_too(ray_session, tmp_path):
    halving = SearchSection(sampler="random", trials=4, scheduler="asha", grace_epochs=1)
    with worker_pool() as pool:
        run(tmp_path, pool, 2, 3)
        first = processes(pool)
        found = run(tmp_path, pool, 4, 5, 6, 7, search=halving)
        assert {one.status for one in found.values()} <= {"complete", "stopped"}
        assert len(found) == 4
        assert first <= processes(pool)


def test_one_that_died_between_two_runs_is_replaced(ray_session, tmp_path):
    with worker_pool() as pool:
        run(tmp_path, pool, 2, 3)
        gone = processes(pool)
        for process in gone:
            os.kill(process, signal.SIGKILL)
        found = run(tmp_path, pool, 4, 5, 6)
        assert {one.status for one in found.values()} == {"complete"}
        assert processes(pool).isdisjoint(gone)


def test_what_they_occupy_is_free_after_the_pool(ray_session, tmp_path):
    with worker_pool() as pool:
        run(tmp_path, pool, 2, 3)
    for _ in range(100):
        if ray.available_resources().get("CPU") == ray.cluster_resources()["CPU"]:
            return
        ray.wait([ray.remote(num_cpus=0)(lambda: None).remote()], timeout=0.1)
    pytest.fail(f"{ray.available_resources()} of {ray.cluster_resources()}")
