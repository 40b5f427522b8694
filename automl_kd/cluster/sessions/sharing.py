"""Checks that every machine of a cluster can work for a run: it has this package, and sees the results folder."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from automl_kd import storage
from automl_kd.errors import AutoMLKDError, ConfigError

UNSEEN = "it does not see what the driver writes there"


def require_shared(folder: Path) -> None:
    """`ConfigError` naming a machine of the running cluster that does not see what this one writes into `folder`.

    On a single machine there is nothing to ask.
    """
    nodes = {one["NodeID"]: one["NodeManagerAddress"] for one in ray.nodes() if one["Alive"]}
    if len(nodes) < 2:
        return
    probe = folder / f"_seen-{uuid.uuid4().hex}"
    probe.touch()
    try:
        storage.push(probe)
        where = storage.address(probe)
        asked = {address: on_node(identity).remote(where) for identity, address in nodes.items()}
        if complaint := first_complaint({address: answer(one) for address, one in asked.items()}, folder):
            raise ConfigError(complaint)
    finally:
        probe.unlink(missing_ok=True)
        storage.remove_objects([probe])


def on_node(identity: str) -> ray.remote_function.RemoteFunction:
    """`sight`, to be called on that node and no other."""
    return ray.remote(num_cpus=0)(sight).options(
        scheduling_strategy=NodeAffinitySchedulingStrategy(identity, soft=False)
    )


def sight(where: str) -> str:
    """Empty if this machine sees the file, else the reason."""
    try:
        path = storage.local_path(where)
        storage.pull_file(path)
    except AutoMLKDError as error:
        return str(error)
    return "" if path.exists() else UNSEEN


def answer(asked: ray.ObjectRef[str]) -> str:
    """A machine's answer; one that has left meanwhile has no complaint, since nothing will run there."""
    try:
        message: str = ray.get(asked)
    except ray.exceptions.RayTaskError as error:  # it could not even load this function
        return str(error).strip().splitlines()[-1]
    except ray.exceptions.RayError:
        return ""
    return message


def first_complaint(answers: Mapping[str, str], folder: Path) -> str:
    """A sentence about the first machine that has a reason not to work for results in `folder`; empty if none has."""
    for address, reason in answers.items():
        if reason:
            return (
                f"{address}, a machine of this cluster, cannot work for results in {folder} ({reason}); install the "
                "project there, and give --out a folder that all machines see, or s3://BUCKET/PREFIX"
            )
    return ""
