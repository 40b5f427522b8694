"""Worker processes that last through all stages of an experiment.

Ray Tune ends its workers with each run, and within a run those that it has no next trial for at that moment. A new one
imports torch and reads the data again, which takes longer than a short trial. So a run leaves its workers to a
`WorkerPool`, from which the next takes them. Tune offers no door to that: what is used of its inside is that of the Ray
versions that requirements.txt names.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import ray
import ray.tune.tune as tune_loop
from ray.air.execution._internal.tracked_actor import TrackedActor
from ray.train._internal.session import get_session
from ray.tune.execution.tune_controller import TuneController
from ray.tune.utils.object_cache import _ObjectCache
from ray.util import remove_placement_group

from automl_kd.cluster.sessions.growing import on_this_machine_alone
from automl_kd.cluster.sessions.private import is_private

THREAD_SECONDS = 2.0
"""The thread of a stopped trial ends within this time: it waits in a report."""

IDLE_ANSWER_SECONDS = 5.0
"""A worker that does nothing answers within this time, or is not used again."""


class IdleWorker(NamedTuple):
    """A Ray actor between two runs, with what it occupies: Tune's request and the placement group that met it."""

    actor: Any
    request: Any
    acquired: Any

    def end(self) -> None:
        ray.kill(self.actor)
        remove_placement_group(self.acquired.placement_group)


class WorkerPool:
    """The workers that wait for the next run of Tune, each with the same resources.

    `ready`: Ray has processes ready that can become workers, in the environment of this one.
    """

    def __init__(self, *, ready: bool = False) -> None:
        self.ready = ready
        self.waiting: list[IdleWorker] = []
        self.each: Mapping[str, float] = {}

    def end(self) -> None:
        for worker in self.waiting:
            worker.end()
        self.waiting = []

    def prepare(self, each: Mapping[str, float]) -> None:
        """Workers with other resources than `each` of the next run's would only stand in its way."""
        if each != self.each:
            self.end()
        self.each = each

    def leave(self, workers: list[IdleWorker]) -> None:
        self.waiting += workers

    def take(self) -> list[IdleWorker]:
        """Those that are still alive; they are the caller's now."""
        alive: list[IdleWorker] = []
        for worker in self.waiting:
            if answers(worker.actor):
                alive.append(worker)
            else:
                worker.end()
        self.waiting = []
        return alive


def answers(actor: Any) -> bool:
    """Whether a worker that should be idle is."""
    try:
        ray.get(actor.execute.remote(step_out), timeout=IDLE_ANSWER_SECONDS)
    except (ray.exceptions.RayError, TimeoutError):
        return False
    return True


def step_out(_: Any) -> None:
    """End what is left of the last trial: its thread, if it was stopped, and with it its memory and its time limit.

    And leave its folder, which is to be removed.
    """
    if (session := get_session()) is not None:
        session.finish(timeout=THREAD_SECONDS)
    os.chdir("/")


@contextmanager
def worker_pool() -> Iterator[WorkerPool | None]:
    """A pool for the time inside; its workers end with it.

    None on a cluster: others wait for what idle workers occupy, and machines that hold one are not given back.
    """
    if not on_this_machine_alone():
        yield None
        return
    pool = WorkerPool(ready=is_private())
    try:
        yield pool
    finally:
        if ray.is_initialized():
            pool.end()


@contextmanager
def workers_of(pool: WorkerPool | None, each: Mapping[str, float]) -> Iterator[None]:
    """While inside, Tune takes its workers from `pool`, and leaves them there. None: as Tune does by itself.

    `each`: what it asks for each of them.
    """
    if pool is None:
        yield
        return
    pool.prepare(each)
    before = tune_loop.TuneController
    tune_loop.TuneController = type("LastingController", (LastingController,), {"pool": pool})
    try:
        yield
    finally:
        tune_loop.TuneController = before


class AllKept(_ObjectCache):  # type: ignore[misc]  # ray is untyped here
    """Tune's cache of workers without a limit."""

    def cache_object(self, key: Any, obj: Any) -> bool:
        self._cached_objects[key].append(obj)
        self._num_cached_objects += 1
        return True

    def flush_cached_objects(self, force_all: bool = False) -> Iterator[Any]:  # noqa: ARG002 - Tune's signature
        return iter(())


class PlainClasses:
    """Tune's cache of actor classes, without an environment of their own.

    With one, which is what Tune gives them (2.60), Ray starts a new process for each, though those that it has ready
    have the same environment. A new one imports for seven seconds.
    """

    def __init__(self) -> None:
        self.known: dict[Any, Any] = {}

    def get(self, trainable: Any) -> Any:
        if trainable not in self.known:
            self.known[trainable] = ray.remote(trainable)
        return self.known[trainable]


class LastingController(TuneController):  # type: ignore[misc]  # ray is untyped here
    """Tune's loop with the workers of a pool in its cache."""

    pool: WorkerPool  # of the class: Tune pickles what its loop holds

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._actor_cache = AllKept()
        if self.pool.ready:
            self._class_cache = PlainClasses()
        for worker in self.pool.take():
            self.adopt(worker)

    def adopt(self, worker: IdleWorker) -> None:
        """Put a worker where Tune would have it if it had started it for a trial that has ended."""
        manager, group = self._actor_manager, worker.acquired.placement_group
        tracked = TrackedActor(uuid.uuid4().int, on_stop=self._actor_stopped, on_error=self._actor_failed)
        manager._resource_manager._acquired_pgs.add(group)
        manager._resource_manager._pg_to_request[group] = worker.request
        manager._live_actors_to_ray_actors_resources[tracked] = (worker.actor, worker.acquired)
        manager._live_resource_cache = None
        self._started_actors.add(tracked)
        self._actor_cache.cache_object(worker.request, tracked)

    def release(self) -> list[IdleWorker]:
        """Take the idle workers out of Tune's hands."""
        manager, released = self._actor_manager, []
        for request, idle in self._actor_cache._cached_objects.items():
            for tracked in idle:
                if not manager.is_actor_started(tracked):
                    continue
                manager._cleanup_actor_futures(tracked)
                actor, acquired = manager._live_actors_to_ray_actors_resources.pop(tracked)
                manager._resource_manager._acquired_pgs.discard(acquired.placement_group)
                manager._resource_manager._pg_to_request.pop(acquired.placement_group, None)
                self._started_actors.discard(tracked)
                released.append(IdleWorker(actor, request, acquired))
        manager._live_resource_cache = None
        self._actor_cache = AllKept()
        return released

    def _maybe_cache_trial_actor(self, trial: Any) -> bool:
        tracked = self._trial_to_actor[trial]
        started = tracked in self._started_actors and self._actor_manager.is_actor_started(tracked)
        if not self._reuse_actors or not started:
            return False
        self.actor_of(tracked).execute.remote(step_out)
        self._actor_cache.cache_object(trial.placement_group_factory, tracked)
        self._actor_to_trial.pop(self._trial_to_actor.pop(trial))
        trial.set_ray_actor(None)
        return True

    def _maybe_reuse_cached_actor(self, trial: Any) -> bool:
        """Tune would give up a trial whose worker died before it could begin, whatever `retries` says."""
        waiting = self._actor_cache._cached_objects[trial.placement_group_factory]
        while waiting and trial not in self._resetting_trials and not answers(self.actor_of(waiting[0])):
            dead = self._actor_cache.pop_cached_object(trial.placement_group_factory)
            ray.kill(self.actor_of(dead))
            self._actor_manager._cleanup_actor(dead)
            self._started_actors.discard(dead)
        return bool(super()._maybe_reuse_cached_actor(trial))

    def actor_of(self, tracked: TrackedActor) -> Any:
        return self._actor_manager._live_actors_to_ray_actors_resources[tracked][0]

    def _cleanup_trials(self) -> None:
        """The end of a run. What still trains then, after Ctrl-C, is of no use to another."""
        self._reuse_actors = False
        with contextlib.suppress(ray.exceptions.RayError):
            self.pool.leave(self.release())
        super()._cleanup_trials()
