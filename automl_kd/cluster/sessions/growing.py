"""Clusters that start machines when they are asked to: asking for what trials need, and waiting until it comes.

A cluster of Ray's launcher or of KubeRay begins with a head on which nothing is to run. Its autoscaler starts machines
for what waits or was asked for, and ends those that stand idle.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray
import torch
from ray.autoscaler.sdk import request_resources
from ray.autoscaler.v2.utils import is_autoscaler_v2
from ray.experimental.internal_kv import _internal_kv_get

from automl_kd.cluster.sessions.machines import amounts, no_room
from automl_kd.cluster.sessions.session import count_trial_slots, device_of, each_worker, has_unusable_cards, machines
from automl_kd.config import Resources
from automl_kd.errors import ConfigError

GROWTH_SECONDS = 1.0
"""How often is looked who has joined."""

FIRST_STATUS_SECONDS = 10.0
"""A head publishes within five seconds of its start how it starts machines."""

QUIET_SECONDS = 60.0
"""Where GPUs are not asked for by name and no machine is being started for so long, none will come."""

STATUS = "__autoscaling_status"
"""Where the autoscaler leaves what it does, as JSON."""

Say = Callable[[str], None]


@contextmanager
def wait_for_resources(resources: Resources, trials: int, say: Say) -> Iterator[Resources]:
    """Inside, there is room for one of so many trials at least; yields `resources` with the device that they get.

    A cluster that starts machines is asked for as many as the trials can use, until the end, and waited for up to
    `resources.wait_minutes`. `ConfigError` if there is no room.
    """
    if not grows():
        found = decided(resources)
        if resources.device == "auto" and has_unusable_cards():
            say("trials run on CPUs: torch cannot use the GPU of this machine; install a build of torch for it")
        elif resources.device == "auto" and found.device == "cpu" and (maker := other_gpu()):
            say(f"trials run on CPUs: the {maker} GPU of this machine is not used, only those of NVIDIA and AMD are")
        yield found
        return
    try:
        yield decided(called_for(resources, trials, say))
    finally:
        if ray.is_initialized():
            request_resources(bundles=[])


def decided(resources: Resources) -> Resources:
    """With "auto" replaced by the device that there is."""
    found = dataclasses.replace(resources, device=device_of(resources))
    if not count_trial_slots(found):
        raise ConfigError(no_room(found, each_worker(found), machines()))
    return found


def remembered(count: Callable[[], int]) -> Callable[[], int]:
    """`count`, asked once in `GROWTH_SECONDS`: Tune wants to know it many times a second."""
    known, until = 0, -math.inf

    def answer() -> int:
        nonlocal known, until
        if (now := time.monotonic()) >= until:
            known, until = count(), now + GROWTH_SECONDS
        return known

    return answer


def other_gpu() -> str:
    """Who made a GPU of this machine that Ray does not share out and trials do not know; empty if there is none."""
    if torch.backends.mps.is_available():
        return "Apple"
    return "Intel" if torch.xpu.is_available() else ""


def called_for(resources: Resources, trials: int, say: Say) -> Resources:
    """Ask for machines and wait for the first; with GPUs if the device is open, and without if none of those come."""
    if resources.device != "auto":
        wait(resources, trials, say)
        return resources
    on_gpus = dataclasses.replace(resources, device="cuda")
    if wait(on_gpus, trials, say, patience=QUIET_SECONDS):
        return on_gpus
    say("no machine with a GPU joins, so trials run on CPUs; trial.device = 'cuda' would wait for one")
    on_cpus = dataclasses.replace(resources, device="cpu")
    wait(on_cpus, trials, say)
    return on_cpus


def wait(resources: Resources, trials: int, say: Say, patience: float = math.inf) -> bool:
    """Whether there is room for a trial within `resources.wait_minutes`.

    `patience`: seconds after which it is given up where nothing is being started.
    """
    each = each_worker(resources)
    at_once = min(trials, resources.max_concurrent) if resources.max_concurrent else trials
    request_resources(bundles=[each] * (at_once * resources.workers))
    if count_trial_slots(resources):
        return True
    say(
        f"waiting for machines, 0 of {at_once}: each trial needs {amounts(each, resources.workers)} "
        f"(trial.wait_minutes = {resources.wait_minutes:g}; after Ctrl-C the same command continues)"
    )
    begun = moved = time.monotonic()
    while (now := time.monotonic()) - begun < 60 * resources.wait_minutes and now - moved < patience:
        time.sleep(GROWTH_SECONDS)
        if count_trial_slots(resources):
            return True
        if is_starting(status()):
            moved = time.monotonic()
    return False


def grows() -> bool:
    """Whether this cluster starts machines by itself. One on this machine alone does not."""
    if ray.util.client.ray.is_connected() or on_this_machine_alone():
        return False
    if is_autoscaler_v2(fetch_from_server=True):  # which nobody has who did not ask for it
        return True
    end = time.monotonic() + FIRST_STATUS_SECONDS
    while not (status_report := status()) and time.monotonic() < end:
        time.sleep(GROWTH_SECONDS)
    return has_kinds(status_report)


def on_this_machine_alone() -> bool:
    """Whether this Ray is one that no other machine can join."""
    return not ray.util.client.ray.is_connected() and all(map(is_loopback, ray.nodes()))


def is_loopback(node: Mapping[str, Any]) -> bool:
    return ipaddress.ip_address(node["NodeManagerAddress"]).is_loopback


def status() -> dict[str, Any]:
    """What the autoscaler reports; empty if there is none, or none yet, or another one than Ray's first."""
    status_text = _internal_kv_get(STATUS)
    report: dict[str, Any] = json.loads(status_text)["autoscaler_report"] if status_text else {}
    return report


def has_kinds(report: Mapping[str, Any]) -> bool:
    """Whether machines are of kinds that somebody described; without a description, each is a kind of its own."""
    kinds: Mapping[str, str] = report.get("node_type_mapping") or {}
    return any(kind != f"node_{machine}" for machine, kind in kinds.items())


def is_starting(report: Mapping[str, Any]) -> bool:
    """Whether machines are on their way; True where nothing is known about that."""
    return not report or bool(report.get("pending_launches") or report.get("pending_nodes"))
