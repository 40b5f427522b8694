"""What is found out about files once and kept for all processes: decoded pixels, statistics, digests.

It lies below the root of data, in folders whose names begin with a dot, or below the user's cache where that root may
not be written to; all of it may be deleted at any time. Names hold a hash of the files' paths, sizes and times of
change, so what was found out of other files is never read. A lock for each name lets one process find out while the
others wait.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from automl_kd import files
from automl_kd.errors import DataError

KEPT_FROM = 64 * 2**20
"""Bytes of images below which nothing is kept: reading them again takes no longer than looking for what is kept."""


def ground(root: Path) -> Path:
    """`root`, or where it may not be written to, a folder of the user's cache."""
    nearest = next(path for path in (root.absolute(), *root.absolute().parents) if path.exists())
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        return root
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "automl_kd" / "data"


def hashed(version: object, paths: Iterable[Path]) -> str:
    """Sixteen hex digits of the files' paths, sizes and times, to the nanosecond, and of `version`.

    The time of the last change of a file or its attributes is among them, which nobody sets: a file that was replaced
    by another of its size and date is seen.
    """
    digest = hashlib.sha256(repr(version).encode())
    for path in paths:
        try:
            status = path.stat()
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror}); bring it back or remove it") from error
        digest.update(os.fsencode(path))
        digest.update(f"\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ctime_ns}\0".encode())
    return digest.hexdigest()[:16]


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Be the only process that makes `path`; where the file system has no locks, two may, and one's is kept."""
    with ExitStack() as held:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            files.wait_lock(held.enter_context(path.with_name(f"{path.name}.lock").open("ab")))
        yield


def recall(root: Path | None, stamp: str, what: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What is kept under `stamp`, a JSON object; made and kept unless it is there. An empty stamp keeps nothing."""
    if not stamp or root is None:
        return make()
    path = ground(root) / ".measured" / f"{stamp}.{what}.json"
    if (known := look_up(path)) is not None:
        return known
    with alone(path):
        if (known := look_up(path)) is None:
            known = make()
            with suppress(OSError):  # the next process measures again
                files.write(path, json.dumps(known), durable=False)
        return known


def look_up(path: Path) -> dict[str, Any] | None:
    try:
        found = files.read_json(path)
    except OSError:  # among them a file that a power cut left empty
        return None
    return found if isinstance(found, dict) else None
