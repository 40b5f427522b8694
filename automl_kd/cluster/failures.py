"""Failures of trials: the kind of an error, which kinds are worth a retry, and the time limit."""

from __future__ import annotations

import errno
import faulthandler
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from automl_kd.errors import DataError, DivergedError, StorageError
from automl_kd.spec import FailureKind

PASSING: frozenset[FailureKind] = frozenset({"memory", "storage"})
"""What another attempt may not meet again: another trial took the memory, a file system was away for a moment."""

NO_MEMORY = re.compile(
    r"can't allocate memory"  # torch's allocator for the processor
    r"|(CUDA|HIP) error: out of memory"  # the driver, where torch's own allocator was not asked
    # A library that finds no memory for itself; on a shared GPU its first use fails for that reason.
    r"|CU(BLAS|DNN|SOLVER|SPARSE)_STATUS_(NOT_INITIALIZED|\w*ALLOC(ATION)?_FAILED)|CUFFT_ALLOC_FAILED"
)
"""Messages of errors without a class of their own: only the text identifies them."""

NO_FILE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR}
"""Numbers of the system for an image that is no longer there, which another attempt would miss too."""

MARK = "overdue.txt"
"""A file in a trial's folder: where it was when its time was over."""


def failure_kind_of(error: BaseException) -> FailureKind:
    """The kind of an error that ended a trial, also by what caused it."""
    chain = list(causes(error))
    if any(isinstance(one, DivergedError) for one in chain):
        return "diverged"
    if any(map(out_of_memory, chain)):
        return "memory"
    data = any(isinstance(one, DataError) for one in chain)
    # Damaged images come as an OSError of the decoder, too, but without a number of the system.
    numbers = {one.errno for one in chain if isinstance(one, OSError) and one.errno is not None}
    if any(isinstance(one, StorageError) for one in chain) or numbers - (NO_FILE if data else set()):
        return "storage"
    return "data" if data else "other"


def causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def out_of_memory(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and NO_MEMORY.search(str(error)) is not None
    )


def lost_device(error: BaseException) -> bool:
    """Whether the device is lost to this process, so that it must die and a new one try again."""
    return isinstance(error, torch.AcceleratorError) and not out_of_memory(error)


@contextmanager
def limited(folder: Path, seconds: float) -> Iterator[None]:
    """While inside, end this process after so many seconds, 0 for never, and write to `folder` where it was.

    By a thread that needs nothing of Python: what hangs in a library, holding its lock, is ended all the same.
    """
    if not seconds:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / MARK).open("w", encoding="utf-8") as file:
        faulthandler.dump_traceback_later(seconds, file=file, exit=True)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            (folder / MARK).unlink(missing_ok=True)


def overdue(folder: Path) -> str:
    """Where the trial in `folder` was when its time was over, which is then forgotten; empty if it was not."""
    try:
        text = (folder / MARK).read_text(encoding="utf-8", errors="replace")
        (folder / MARK).unlink()
    except OSError:
        return ""
    if not text:  # killed by somebody else, before its time
        return ""
    threads = text.split("\n\n")
    ours = next((one for one in threads if re.search(r" in work(_together)?$", one, re.MULTILINE)), text)
    where = re.search(r'^  File "(.*)", line (\d+) in (.*)$', ours, re.MULTILINE)
    found = f" in {where[3]} ({Path(where[1]).name}, line {where[2]})" if where else ""
    return f"took longer than trial.timeout_minutes and was ended{found}; raise it and set trial.retry_failed"
