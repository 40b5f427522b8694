"""A private Ray on this machine: it listens on the loopback address only, and requires its token.

Whoever reaches a port of Ray and is not asked for a token runs code as the user. So all ports lie at the loopback
address, and the token is drawn for each Ray anew and lives in the environment of its processes, which other users
cannot read: no file holds it, and RAY_AUTH_MODE, which is for clusters, has no effect here.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray import _raylet
from ray._common.utils import get_default_ray_temp_dir
from ray._private import ray_constants

from automl_kd.errors import ConfigError

SOCKET = "session_2000-01-01_00-00-00_000000_4194304/sockets/plasma_store"
"""The longest path that Ray makes for a socket, below its folder; the number is the largest of a process."""

SOCKET_BYTES = 107 if os.uname().sysname == "Linux" else 103
"""What the system allows for such a path (sun_path of unix(7), less its end)."""

READY = {"RAY_preload_python_modules": "ray.tune,torch._dynamo,scipy.special"}
"""What a trial imports sooner or later, torch's compiler for an optimiser's first step (2.14). Nothing of ours: before
its first trial a worker does not know where the code lies that started it. One thread goes with it: Ray sets that for a
worker of one processor, but only after these imports."""

OWN_PROCESSES: list[int] = []
"""The process in which a Ray of this module runs, while one does."""

SHARED_MEMORY = 64 * 2**20
"""Free bytes in Ray's own folder without which none is started."""

FULL = 2**18
"""Free bytes in it below which it is full to Ray, whose logs are buffered."""


@contextmanager
def private_ray(ready: bool = False, **options: Any) -> Iterator[None]:
    """A Ray of this machine for the time inside. `ConfigError` where it has no place for its own files.

    `ready`: the workers that Ray starts, one for each processor, import at once what trials will. `SystemExit` with a
    sentence if it does not come up, or dies while it does.
    """
    require_place(own_folder())
    with token_of_its_own():
        with in_environment({**READY, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")} if ready else {}):
            start(**options)
        OWN_PROCESSES.append(os.getpid())
        try:
            require_loopback()
            yield
        finally:
            OWN_PROCESSES.pop()
            ray.shutdown()


def is_private() -> bool:
    """Whether the Ray of this process is one of this module's, whose workers have the environment that it began in."""
    return os.getpid() in OWN_PROCESSES


def start(**options: Any) -> None:
    try:
        with at_loopback():
            ray.init(address="local", include_dashboard=False, **options)
    except Exception as error:  # Ray raises bare exceptions here; whatever it is, nothing of ours has begun
        reason = next(iter(str(error).splitlines()), "").strip().rstrip(".")
        reason = reason or type(error).__name__
        raise SystemExit(
            f"automl-kd: Ray did not start on this machine ({reason}); run the same command again"
        ) from error


@contextmanager
def at_loopback() -> Iterator[None]:
    """While inside, Ray takes the loopback address for that of this machine, and binds every port to it.

    That is what it does by itself on macOS, where a firewall would ask; an address given by name is replaced by one
    that others can reach.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def require_loopback() -> None:
    """`ConfigError` if others can reach the Ray that has just begun, as one of another version might be."""
    for node in ray.nodes():
        if not ipaddress.ip_address(node["NodeManagerAddress"]).is_loopback:
            raise ConfigError(
                f"Ray {ray.__version__} opens its ports at {node['NodeManagerAddress']}, which others can reach; "
                "install a version that requirements.txt names"
            )


@contextmanager
def token_of_its_own() -> Iterator[None]:
    """While inside, what this process starts of Ray asks for a new token, and knows it."""
    with in_environment({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}):
        yield


@contextmanager
def in_environment(values: dict[str, str]) -> Iterator[None]:
    """While inside, Ray finds these in the environment."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    read_again()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        read_again()


def read_again() -> None:
    """Have Ray look at the environment anew: it remembers what it found there at its first question.

    In this order: a thread that ends late must not look for a token that is gone.
    """
    _raylet.Config.initialize("")  # type: ignore[attr-defined]  # Ray's stub leaves it out
    _raylet.AuthenticationTokenLoader.instance().reset_cache()  # type: ignore[attr-defined]  # likewise


def own_folder() -> Path:
    """The folder of Ray's own files on this machine: RAY_TMPDIR or TMPDIR."""
    return Path(get_default_ray_temp_dir())


def is_full(folder: Path) -> bool:
    """Whether Ray can no longer write there; its workers then die or do not start, and it tries for ever."""
    try:
        return shutil.disk_usage(folder).free < FULL
    except OSError:
        return False


def explain_full_disk(folder: Path) -> str:
    return (
        f"{folder}, where Ray keeps its own files, is full; make room or name another folder by RAY_TMPDIR: what has "
        "ended is on record, and the same command continues"
    )


def require_place(folder: Path) -> None:
    """`ConfigError` unless Ray's own files find place in `folder`."""
    if (length := len(os.fsencode(folder / SOCKET))) > SOCKET_BYTES:
        raise ConfigError(
            f"Ray keeps its sockets below {folder}, where their paths take up to {length} bytes and the system allows "
            f"{SOCKET_BYTES}; export RAY_TMPDIR=/tmp, or another short folder"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise ConfigError(
            f"Ray's own folder {folder} cannot be made ({error.strerror}); export RAY_TMPDIR=/tmp, or another folder"
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"Ray's own folder {folder} may not be written to; export RAY_TMPDIR=/tmp, or another folder")
    if free < SHARED_MEMORY:
        raise ConfigError(
            f"{folder}, where Ray keeps its own files, has {free / 2**20:.0f} MiB free, and it needs "
            f"{SHARED_MEMORY // 2**20}; make room or name another folder by RAY_TMPDIR"
        )
