"""Locks on whole files between the processes of a machine. The system releases them with the file, however it ends."""

from __future__ import annotations

import fcntl
from typing import IO, Any, TypeAlias

Open: TypeAlias = IO[Any] | int
"""A file that is open, or its descriptor."""


def try_lock(file: Open, *, shared: bool = False) -> bool:
    """Whether the lock on an open file could be had at once; it holds until the file is closed."""
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait_lock(file: Open, *, shared: bool = False) -> None:
    """Have the lock on an open file, after whoever has it now."""
    fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
