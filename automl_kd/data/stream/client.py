"""The reader's side of the helper process: finding it, starting it, and reading batches from it."""

from __future__ import annotations

import functools
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Protocol

from automl_kd.data.stream.decoder import decoder_identity
from automl_kd.data.stream.engine import Engine
from automl_kd.data.stream.render import RowNumbers
from automl_kd.data.stream.ring import BatchCost
from automl_kd.data.stream.settings import LoaderSettings
from automl_kd.data.stream.slots import BatchBytes, LocalSlot, SharedSlot
from automl_kd.data.stream.source import StreamSource
from automl_kd.data.stream.wire import receive, send
from automl_kd.hashing import hash_json

START_SECONDS = 60.0
"""In which a helper must have imported what it needs."""
SILENT_SECONDS = 30.0
"""After which a helper that neither delivers nor says that it is busy is given up."""
RELAUNCH_SECONDS = 2.0
RETRY_SECONDS = 0.05
LOCAL_BATCHES = 4
"""That are held at most where a trial decodes for itself."""

UNAVAILABLE: set[str] = set()
"""Helpers that did not answer this process in time, for which it waits no more."""

PACKAGE = Path(__file__).parents[2]


class HelperError(Exception):
    """The helper cannot be had, or is lost; the reader goes on without it."""


class BatchSource(Protocol):
    """Delivers batches of one stream, one call at a time."""

    def fetch(self, number: int, places: RowNumbers, out: BatchBytes) -> tuple[list[int], BatchCost]:
        """The views at `places` of batch `number` into `out`; which of `places` failed, and what the batch took."""

    def close(self) -> None: ...


class LocalSource:
    """Threads of this process."""

    def __init__(self, source: StreamSource, settings: LoaderSettings) -> None:
        limit = max(2 * source.batch_bytes, min(settings.ring_bytes, LOCAL_BATCHES * source.batch_bytes))
        self.engine = Engine(settings.workers, limit, LocalSlot.create, keep_passed=False)
        self.cursor = self.engine.join(source)

    def fetch(self, number: int, places: RowNumbers, out: BatchBytes) -> tuple[list[int], BatchCost]:
        batch = self.engine.request(self.cursor, number)
        assert batch is not None
        assert batch.slot is not None
        batch.slot.read(places, out)
        return among(batch.failed, places), self.engine.take_cost(batch)

    def close(self) -> None:
        self.engine.close()


class HelperSource:
    """A helper process: the node's, or this process's own unless `settings.shared`. All methods raise `HelperError`."""

    def __init__(self, source: StreamSource, settings: LoaderSettings) -> None:
        self.view_bytes = source.view_bytes
        if not hasattr(os, "memfd_create"):
            raise HelperError("this system has no files in memory")
        self.own: OwnHelper | None = None
        try:
            if settings.shared:
                self.connection, self.process = connect_shared(settings)
            else:
                self.own, self.connection, self.process = connect_own(settings)
        except (OSError, subprocess.SubprocessError) as error:
            raise HelperError(f"it could not be started ({error})") from error
        try:
            self.follow(source)
        except BaseException:
            self.close()
            raise

    def follow(self, source: StreamSource) -> None:
        try:
            handle = source.pack()
            try:
                send(self.connection, {"follow": True}, handle)
            finally:
                os.close(handle)
            answer, _ = self.answer()
        except OSError as error:
            raise HelperError(f"it took no order ({error})") from error
        if refused := answer.get("refused"):
            raise HelperError(str(refused))

    def fetch(self, number: int, places: RowNumbers, out: BatchBytes) -> tuple[list[int], BatchCost]:
        try:
            send(self.connection, {"number": number})
            answer, handle = self.answer()
            failed = list(range(len(places)))
            if handle is not None:
                SharedSlot(handle, self.view_bytes).read(places, out)
                failed = among(answer["failed"], places)
            return failed, BatchCost(*answer["cost"])
        except (OSError, KeyError, TypeError) as error:
            raise HelperError(f"it was lost ({error})") from error

    def answer(self) -> tuple[dict[str, Any], int | None]:
        while True:
            found = receive(self.connection)
            if "busy" not in found[0]:
                return found

    def close(self) -> None:
        self.connection.close()
        own, self.own = self.own, None
        if own is not None:
            own.release()


def among(failed: list[int], places: RowNumbers) -> list[int]:
    """Where in `places` one of `failed` stands."""
    return [at for at, place in enumerate(places.tolist()) if place in failed] if failed else []


class OwnHelper:
    """The helper of this process alone: it ends with `control`, over which it is sent the sockets of readers."""

    def __init__(self, settings: LoaderSettings) -> None:
        self.control, theirs = socket.socketpair()
        self.readers = 0
        with theirs:
            launch_helper({"owner": theirs.fileno()}, settings, (theirs.fileno(),))

    def connect(self) -> tuple[socket.socket, int]:
        """A new reader's connection, and the number of the helper's process."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                send(self.control, {"reader": True}, theirs.fileno())
            return greet(ours, START_SECONDS)
        except BaseException:
            ours.close()
            raise

    def release(self) -> None:
        """A reader less; without any the helper ends."""
        with OWN_LOCK:
            self.readers -= 1
            if not self.readers:
                self.control.close()
                if OWN_HELPERS.get(os.getpid()) is self:
                    del OWN_HELPERS[os.getpid()]


OWN_HELPERS: dict[int, OwnHelper] = {}
"""By the number of the process, as after a fork there is another."""
OWN_LOCK = threading.Lock()


def connect_own(settings: LoaderSettings) -> tuple[OwnHelper, socket.socket, int]:
    """To this process's helper, started for its first reader or after one was lost; `release` it at the end."""
    with OWN_LOCK:
        process, fresh = os.getpid(), False
        while True:
            if (own := OWN_HELPERS.get(process)) is None:
                own = OWN_HELPERS[process] = OwnHelper(settings)
                fresh = True
            try:
                connection, number = own.connect()
            except OSError:
                del OWN_HELPERS[process]
                if fresh:
                    own.control.close()
                    raise
                continue
            own.readers += 1
            return own, connection, number


def connect_shared(settings: LoaderSettings) -> tuple[socket.socket, int]:
    """To the helper of this version and interpreter, started if there is none: the connection, and its process."""
    place = helper_folder() / hash_json([code_version(), str(PACKAGE), sys.executable])
    if str(place) in UNAVAILABLE:
        raise TimeoutError("it did not answer before")
    record = {"socket": f"{place}.socket", "lock": f"{place}.lock"}
    deadline, next_launch = time.monotonic() + START_SECONDS, 0.0
    while (now := time.monotonic()) < deadline:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(record["socket"])
            return greet(connection, deadline - now)
        except (FileNotFoundError, ConnectionError):  # not there yet, or just at its end
            connection.close()
        except BaseException:
            connection.close()
            raise
        if now >= next_launch:
            launch_helper(record, settings)
            next_launch = now + RELAUNCH_SECONDS
        time.sleep(RETRY_SECONDS)
    UNAVAILABLE.add(str(place))
    raise TimeoutError(f"it did not answer within {START_SECONDS:.0f} s")


def greet(connection: socket.socket, seconds: float) -> tuple[socket.socket, int]:
    connection.settimeout(seconds)
    send(connection, {"version": code_version()})
    answer, _ = receive(connection)
    if answer.get("version") != code_version():
        raise HelperError(f"it has another version, {answer.get('version')}")
    connection.settimeout(SILENT_SECONDS)
    return connection, int(answer["process"])


def launch_helper(record: dict[str, Any], settings: LoaderSettings, handles: tuple[int, ...] = ()) -> None:
    """Start a helper, which goes on when this process ends."""
    order = {**record, "threads": settings.workers, "limit": settings.ring_bytes, "version": code_version()}
    paths = [str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}
    script = Path(__file__).with_name("launch.py")
    nothing = subprocess.DEVNULL
    subprocess.run(
        [sys.executable, "-P", str(script), json.dumps(order)],
        stdin=nothing, stdout=nothing, stderr=nothing, cwd="/", env=environment, pass_fds=handles, check=False,
        timeout=START_SECONDS,
    )  # fmt: skip


def helper_folder() -> Path:
    """Where helpers of this user are found: a folder that nobody else may enter."""
    folder = Path(tempfile.gettempdir()) / f"automl_kd-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} is not a folder of this user alone")
    return folder


@functools.cache
def code_version() -> str:
    """A hash of the code that readers and helper share, and of the libraries that decode."""
    sources = [path.read_text(encoding="utf-8") for path in sorted((PACKAGE / "data").rglob("*.py"))]
    return hash_json([decoder_identity("exact"), *sources])
