"""Joins a running cluster, with this machine's token if RAY_AUTH_MODE=token.

Ray shows the token in ~/.ray/auth_token by itself only to the cluster that `auto` finds, and never at an address that
was written down, however near; yet `ray start` has a cluster ask for it as soon as that file is there. Ray would try
for 20 seconds and then report that nothing answers. Here the cluster is asked first, and the error names the variable
to export.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray import _raylet
from ray.exceptions import AuthenticationError, RayError

from automl_kd.cluster.sessions.watchdog import knock
from automl_kd.errors import ConfigError

WANTED_FILE = "the head's ~/.ray/auth_token on this machine"


@contextmanager
def join_cluster(address: str, **options: Any) -> Iterator[None]:
    """Inside, this process is a driver of the cluster at `address`. `ConfigError` if none answers, or it refuses."""
    require_welcome(address)
    connect(address, **options)
    try:
        yield
    finally:
        ray.shutdown()


def connect(address: str, **options: Any) -> None:
    try:
        knock(address)
        ray.init(address=address, **options)
    except (OSError, OverflowError) as error:  # a ConnectionError is an OSError; ports beyond 65535 overflow
        raise ConfigError(
            f"no Ray cluster answers at {address!r}; start one with 'ray start --head', or give no address"
        ) from error
    except ValueError as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ConfigError(f"{address!r} cannot be joined ({reason}); write HOST:PORT, or auto") from error
    except AuthenticationError as error:
        raise ConfigError(refusal(address)) from error


def require_welcome(address: str) -> None:
    """`ConfigError` if the cluster at HOST:PORT asks for a token and is shown none, or another one."""
    if host_of(address) and refuses(address):
        raise ConfigError(refusal(address))


def refuses(address: str) -> bool:
    """Whether a cluster answers there and refuses this process; Ray reports all other errors."""
    if os.environ.get("RAY_AUTH_MODE", "").lower() == "token" and not has_token():
        return True
    try:
        knock(address)
        _raylet.GcsClient(address=address)  # type: ignore[attr-defined]  # Ray's stub leaves it out
    except AuthenticationError:
        return True
    except (OSError, OverflowError, ValueError, RayError):
        return False
    return False


def refusal(address: str) -> str:
    """What to do about a cluster that refuses."""
    mode = os.environ.get("RAY_AUTH_MODE")
    if not has_token():
        return f"the Ray cluster at {address!r} asks for a token; put {WANTED_FILE}, and export RAY_AUTH_MODE=token"
    if (mode or "").lower() == "token":
        return (
            f"the Ray cluster at {address!r} refuses this machine's token; put {WANTED_FILE}, and unset RAY_AUTH_TOKEN"
        )
    state = "RAY_AUTH_MODE is not set" if mode is None else f"RAY_AUTH_MODE is {mode!r}"
    return (
        f"the Ray cluster at {address!r} asks for a token and {state}; export RAY_AUTH_MODE=token if this is your "
        f"cluster, with {WANTED_FILE}"
    )


def has_token() -> bool:
    loader = _raylet.AuthenticationTokenLoader.instance()  # type: ignore[attr-defined]  # likewise
    return bool(loader.has_token(ignore_auth_mode=True))


def host_of(address: str) -> str:
    """The host of HOST:PORT; empty for "auto" and ray://, which Ray asks itself."""
    named = re.fullmatch(r"\[?([^/\[\]]+?)\]?:(\d{1,5})", address)
    return named[1] if named else ""
