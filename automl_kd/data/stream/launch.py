"""Starts the helper: a script whose argument is a record as of `helper.run_helper`, with the path `lock` if shared.

Whoever started it need not wait for it, and its end is not the helper's: this process ends at once, and a child of it
goes on in a session of its own. Nothing is imported before the lock is had, so that of several that start at once all
but one end soon.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys

SERVED = 3
"""The exit status where another helper serves already."""


def detach(lock: str | None) -> None:
    """Go on in a process of its own, which holds the lock for life; exit where another holds it."""
    if lock is not None:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(SERVED)
    if os.fork():
        os._exit(0)
    os.setsid()


if __name__ == "__main__":
    record = json.loads(sys.argv[1])
    detach(record.pop("lock", None))
    from automl_kd.data.stream.helper import run_helper

    run_helper(record)
