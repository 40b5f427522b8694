"""The lock of a folder in a bucket: an object that its owner writes again and again while it works.

Object stores here have no compare-and-swap. So who takes a lease looks again after a moment whether it is still his,
and looks at every beat; of two who take it at once, the later one has it and the other ends.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from automl_kd import files
from automl_kd.errors import StorageError
from automl_kd.storage.mirror import BUCKET_ADVICE, BucketMirror
from automl_kd.storage.store import reason

BEAT_SECONDS = 10.0
STALE_SECONDS = 60.0
"""A lease that was not written for so long, by the store's clock and ours, has lost its owner."""

SETTLE_SECONDS = 0.5
WAIT_SECONDS = 2.0

LEASE = "lease.json"
"""Name of the object."""


@dataclass(frozen=True)
class Lease:
    """`token`: of one holding. `owner`: the machine, by its mirror. `who`: for people. Not `held`: given back."""

    token: str
    owner: str
    who: str
    held: bool = True


def find_lease(mirror: BucketMirror, folder: Path) -> tuple[Lease, float] | None:
    """The lease that lies there and its age in seconds. `OSError` passes on."""
    key = mirror.key(folder / LEASE)
    if (stamp := mirror.store.stamp(key)) is None:
        return None
    try:
        record = json.loads(b"".join(mirror.store.chunks(key)))
        return Lease(**record), time.time() - stamp.time_ns / 1e9
    except (FileNotFoundError, ValueError, TypeError):
        return None


def write_lease(mirror: BucketMirror, folder: Path, lease: Lease) -> None:
    mirror.store.put(mirror.key(folder / LEASE), json.dumps(asdict(lease)).encode())


def holder_of(mirror: BucketMirror, folder: Path) -> str:
    """Who on another machine holds the lease of a folder just now; empty for nobody."""
    known = mirror.asked(folder, lambda: find_lease(mirror, folder))
    if known is None or not known[0].held or known[1] > STALE_SECONDS or known[0].owner == machine(mirror):
        return ""
    return known[0].who


def machine(mirror: BucketMirror) -> str:
    """The name of this machine's mirror, drawn once. Processes that share it are kept apart by local locks."""
    path = mirror.base / ".owner"
    if not path.exists():
        files.create(path, uuid.uuid4().hex)
    return path.read_text(encoding="utf-8")


@contextmanager
def held(mirror: BucketMirror, folder: Path, *, wait: bool = False) -> Iterator[bool]:
    """Hold the lease of a folder; yields whether nobody else has held it since this machine did.

    To be called under the local lock of the folder: a lease of this machine's own is what a killed run left, and is
    taken over at once. `StorageError` if another machine holds it, unless one is to `wait`.
    """
    own = Lease(uuid.uuid4().hex, machine(mirror), f"process {os.getpid()} on {socket.gethostname()}")
    was_ours = taken(mirror, folder, own, wait=wait)
    holding = Holding(mirror, folder, own)
    mirror.guards[folder] = holding.guard
    beating = threading.Thread(target=holding.beat, daemon=True)
    beating.start()
    try:
        yield was_ours
    finally:
        holding.done.set()
        beating.join()
        del mirror.guards[folder]
        with suppress(OSError, StorageError):  # it becomes stale by itself
            holding.confirm()
            write_lease(mirror, folder, replace(own, held=False))


class Holding:
    """A lease that is being held."""

    def __init__(self, mirror: BucketMirror, folder: Path, own: Lease) -> None:
        self.mirror, self.folder, self.own = mirror, folder, own
        self.confirmed = time.time()
        self.done = threading.Event()

    def beat(self) -> None:
        """Write the lease again and again until `done`, or until another token stands there."""
        while not self.done.wait(BEAT_SECONDS):
            try:
                self.confirm()
                write_lease(self.mirror, self.folder, self.own)
            except OSError:
                continue  # a push that fails raises it
            except StorageError:
                return

    def guard(self) -> None:
        """Called before anything is written: raises if the lease is lost, or `OSError` if that is unknown."""
        if time.time() - self.confirmed > STALE_SECONDS / 2:  # the machine slept, or the network was gone
            self.confirm()

    def confirm(self) -> None:
        known = find_lease(self.mirror, self.folder)
        if known is not None and known[0].token != self.own.token:
            self.confirmed = -STALE_SECONDS  # so that it is asked again before every write
            raise StorageError(
                f"{known[0].who} has taken over {self.mirror.name(self.folder)} from this run, which ends; what it "
                "recorded until then is there"
            )
        self.confirmed = time.time()


def taken(mirror: BucketMirror, folder: Path, own: Lease, *, wait: bool) -> bool:
    """Make the lease `own`; whether the one before it was this machine's, or there was none."""
    while True:
        if who := holder_of(mirror, folder):
            if not wait:
                raise StorageError(
                    f"{who} is writing to {mirror.name(folder)}; wait for it, or give this run another name or --out"
                )
            time.sleep(WAIT_SECONDS)
            continue
        try:
            before = find_lease(mirror, folder)
            write_lease(mirror, folder, own)
            time.sleep(SETTLE_SECONDS)
            after = find_lease(mirror, folder)
        except OSError as error:
            raise StorageError(
                f"{mirror.name(folder)} cannot be written to ({reason(error)}); {BUCKET_ADVICE}"
            ) from error
        if after is not None and after[0].token == own.token:
            return before is None or before[0].owner == own.owner
