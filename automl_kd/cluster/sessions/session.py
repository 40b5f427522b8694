"""Starting Ray on this machine, or joining a cluster that runs already."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import ray
import torch

from automl_kd.cluster.sessions.joining import join_cluster
from automl_kd.cluster.sessions.machines import Machine, fit
from automl_kd.cluster.sessions.private import is_private, private_ray
from automl_kd.cluster.sessions.watchdog import watch_raylet
from automl_kd.config import Resources
from automl_kd.memory import machine_bytes

QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}


@contextmanager
def session(address: str = "", resources: Resources | None = None) -> Iterator[None]:
    """A Ray to work in: the cluster at `address` or RAY_ADDRESS, else a private one on this machine, ended afterwards.

    `resources`: of the trials to come, for which the workers of a private Ray make themselves ready if each processor
    will have its own.
    Inside a running Ray it is a no-op, so that several stages share one. `ConfigError` if no cluster answers.
    The process ends if this node's part of it dies (see `watch_raylet`).
    """
    if ray.is_initialized():
        yield
        return
    wanted = address or os.environ.get("RAY_ADDRESS", "")
    ready = resources is not None and each_processor_trains(resources)
    with join_cluster(wanted, **QUIET) if wanted else private_ray(ready=ready, **QUIET), watch_raylet():
        yield


WORKER_BYTES = 10**9
"""What a worker takes that has imported all that trials import, and has no trial yet."""

MEMORY_SHARE = 4
"""Workers make themselves ready if all together take at most one part in so many of the memory."""


def each_processor_trains(resources: Resources) -> bool:
    """Whether the trials use all processors of this machine at once, and it has memory for as many ready workers."""
    processors = os.cpu_count() or 1
    limited = 0 < resources.max_concurrent < processors
    fits = processors * WORKER_BYTES * MEMORY_SHARE <= machine_bytes()
    return fits and not on_cards(resources) and not limited and resources.cpus == 1 and resources.workers == 1


def on_cards(resources: Resources) -> bool:
    """Whether trials in a private Ray of this machine run on GPUs."""
    return resources.device == "cuda" or (resources.device == "auto" and torch.cuda.is_available())


def trains_here(resources: Resources, address: str) -> bool:
    """Whether trials will run on the processors of this machine alone, with or without a Ray as yet."""
    joins = not is_private() and (ray.is_initialized() or address or os.environ.get("RAY_ADDRESS"))
    return not joins and not on_cards(resources)


def machines() -> list[Machine]:
    """What each machine of the running Ray has."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def device_of(resources: Resources) -> Literal["cpu", "cuda"]:
    """Where trials run: "cuda" or "cpu"."""
    if resources.device != "auto":
        return resources.device
    return "cuda" if has_cards() and not has_unusable_cards() else "cpu"


def has_cards() -> bool:
    return any(machine.get("GPU", 0) for machine in machines())


def has_unusable_cards() -> bool:
    """Whether Ray, which asks the driver, counts GPUs of this machine that its torch cannot use."""
    return is_private() and has_cards() and not torch.cuda.is_available()


LAUNCHER_BYTES = 2**20
"""Of memory, for a trial that only launches its workers: Ray refuses a trial of no resources at all, and the smallest
part of a processor would keep a worker out."""


def each_worker(resources: Resources) -> dict[str, float]:
    """What one worker of a trial is given, under Ray's own names."""
    gpus = {"GPU": resources.gpus} if device_of(resources) == "cuda" else {}
    return {"CPU": resources.cpus, **gpus}


def resources_per_trial(resources: Resources) -> dict[str, float]:
    """What Ray sets aside for one trial; several workers ask for theirs themselves."""
    if resources.workers > 1:
        return {"cpu": 0, "memory": LAUNCHER_BYTES}
    each = each_worker(resources)
    return {"cpu": each["CPU"], "gpu": each.get("GPU", 0)}


def count_trial_slots(resources: Resources) -> int:
    """How many trials have room on the machines that are there, busy or not."""
    return fit(each_worker(resources), machines(), resources.workers)


def concurrency(resources: Resources) -> int:
    """How many trials may run at once by now; where there is no room at all, one waits for it."""
    most = resources.max_concurrent or sys.maxsize
    return max(1, min(count_trial_slots(resources), most))
