"""Starting Ray on this machine, or joining a cluster that runs already."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray

from automl_kd.cluster.watchdog import knock, watched
from automl_kd.config import Resources
from automl_kd.errors import ConfigError


@contextmanager
def session(address: str = "") -> Iterator[None]:
    """A Ray to work in: the cluster at `address` or RAY_ADDRESS, else a private one on this machine, ended afterwards.

    Inside a running Ray it is a no-op, so that several stages share one. `ConfigError` if no cluster answers.
    The process ends if this node's part of it dies (see `watched`).
    """
    if ray.is_initialized():
        yield
        return
    wanted = address or os.environ.get("RAY_ADDRESS", "")
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if wanted:
        try:
            knock(wanted)
            ray.init(address=wanted, **quiet)
        except (OSError, OverflowError) as error:  # a ConnectionError is an OSError; ports beyond 65535 overflow
            raise ConfigError(
                f"no Ray cluster answers at {wanted!r}; start one with 'ray start --head', or give no address"
            ) from error
        except ValueError as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise ConfigError(f"{wanted!r} cannot be joined ({reason}); write HOST:PORT, or auto") from error
    else:
        start(**quiet)
    try:
        with watched():
            yield
    finally:
        ray.shutdown()


def start(**options: Any) -> None:
    """A private Ray on this machine; `SystemExit` with a sentence if it does not come up, or dies while it does."""
    try:
        ray.init(address="local", include_dashboard=False, **options)
    except Exception as error:  # Ray raises bare exceptions here; whatever it is, nothing of ours has begun
        reason = next(iter(str(error).splitlines()), "").strip().rstrip(".")
        reason = reason or type(error).__name__
        raise SystemExit(
            f"automl-kd: Ray did not start on this machine ({reason}); run the same command again"
        ) from error


def device_of(resources: Resources) -> str:
    """Where trials run: "cuda" or "cpu"."""
    if resources.device != "auto":
        return resources.device
    return "cuda" if ray.cluster_resources().get("GPU", 0) else "cpu"


LAUNCHER_BYTES = 2**20
"""Of memory, for a trial that only launches its workers: Ray refuses a trial of no resources at all, and the smallest
part of a processor would keep a worker out."""


def each_worker(resources: Resources) -> dict[str, float]:
    """What one worker of a trial is given, under Ray's own names."""
    gpus = {"GPU": resources.gpus} if device_of(resources) == "cuda" else {}
    return {"CPU": resources.cpus, **gpus}


def share(resources: Resources) -> dict[str, float]:
    """What Ray sets aside for one trial; several workers ask for theirs themselves."""
    if resources.workers > 1:
        return {"cpu": 0, "memory": LAUNCHER_BYTES}
    each = each_worker(resources)
    return {"cpu": each["CPU"], "gpu": each.get("GPU", 0)}


def room_for(each: Mapping[str, float], have: Mapping[str, float]) -> int:
    """How many workers fit: as many as the scarcest resource allows."""
    return min(int(have.get(name, 0) / amount + 1e-6) for name, amount in each.items())


def concurrency(resources: Resources) -> int:
    """How many trials may run at once; `ConfigError` if not even one fits."""
    have, each = ray.cluster_resources(), each_worker(resources)
    # The workers of one trial may lie on several machines, but a worker lies on one.
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]] if resources.workers > 1 else [have]
    room = sum(room_for(each, machine) for machine in machines) // resources.workers
    if room < 1:
        several = resources.workers > 1
        raise ConfigError(
            f"{f'each of the {resources.workers} workers of a trial' if several else 'a trial'} asks for "
            f"{each['CPU']:g} CPUs and {each.get('GPU', 0):g} GPUs, but Ray has {have.get('CPU', 0):g} and "
            f"{have.get('GPU', 0):g}; lower {'trial.workers, ' if several else ''}trial.cpus or trial.gpus, or set "
            "trial.device"
        )
    return min(room, resources.concurrent) if resources.concurrent else room
