"""Notices that Ray has died on this machine, or cannot work: without it a driver would wait for ever."""

from __future__ import annotations

import math
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray

from automl_kd.cluster.sessions.private import explain_full_disk, is_full, own_folder

ANSWER_SECONDS = 10.0
"""How long a cluster may take to accept a connection."""

WATCH_SECONDS = 0.5
"""How often is looked whether Ray is still there."""

FULL_SECONDS = 20.0
"""How long Ray's own folder may be full: somebody may make room."""

LOST = (
    "automl-kd: Ray's own process on this machine has ended (killed, or out of memory); what has ended is on record, "
    "and the same command continues"
)

EXIT_CODE = 1
"""The work was done in part only."""


@contextmanager
def watch_raylet() -> Iterator[None]:
    """While inside, the process ends with one sentence and `EXIT_CODE` as soon as this node's part of Ray is gone.

    Nothing can be cleaned up through a Ray that is gone, and Ray's own calls then block: so the process ends on the
    spot, as a kill would end it, which every file on disk is made for. Ray does the same where its head is gone.
    Likewise where a full disk keeps Ray from starting workers.
    """
    doors = own_doors()
    over = threading.Event()
    guard = threading.Thread(target=watch, args=(doors, over, own_folder()), name="ray-watchdog", daemon=True)
    if doors:
        guard.start()
    try:
        yield
    finally:
        over.set()


def watch(doors: list[str], over: threading.Event, folder: Path) -> None:
    full_since = math.inf
    while not over.wait(WATCH_SECONDS):
        if any(map(refused, doors)) and not over.is_set():
            end(LOST)
        full_since = min(full_since, time.monotonic()) if is_full(folder) else math.inf
        if time.monotonic() - full_since > FULL_SECONDS and not over.is_set():
            end(f"automl-kd: {explain_full_disk(folder)}")


def end(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()
    os._exit(EXIT_CODE)


def refused(door: str) -> bool:
    """Whether the system refuses the connection; a slow answer counts as alive."""
    try:
        knock(door)
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def knock(address: str) -> None:
    """Open and close a connection to HOST:PORT, with or without ray:// before it; other forms are left to Ray.

    `OSError` if nobody answers. Ray itself tries for minutes and then ends the process.
    """
    if named := re.fullmatch(r"(?:ray://)?\[?([^/]+?)\]?:(\d{1,5})", address):
        socket.create_connection((named[1], int(named[2])), timeout=ANSWER_SECONDS).close()


def own_doors() -> list[str]:
    """Where the raylet of this node listens; empty for a client (ray://), whose own connection notices."""
    if ray.util.client.ray.is_connected():
        return []
    own = ray.get_runtime_context().get_node_id()
    nodes = [node for node in ray.nodes() if node["NodeID"] == own]
    return [f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}" for node in nodes]
