"""The helper process: decodes for the readers of a node, or of one process, until the last of them has left.

`launch` starts it. A thread for each reader waits with it, `Engine`'s threads decode.
"""

from __future__ import annotations

import os
import resource
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from automl_kd.data.stream.decoder import torchvision_agrees
from automl_kd.data.stream.engine import Engine
from automl_kd.data.stream.ring import Cursor
from automl_kd.data.stream.slots import SharedSlot
from automl_kd.data.stream.source import StreamSource
from automl_kd.data.stream.wire import receive, send

IDLE_SECONDS = 5.0
"""That a shared helper waits for another reader."""
BUSY_SECONDS = 2.0
"""After which a reader that waits is told that the helper lives."""
LOOK_SECONDS = 0.5


class Helper:
    """`version`: of the code, which readers must have too."""

    def __init__(self, engine: Engine, version: str) -> None:
        self.engine, self.version = engine, version
        self.readers, self.alone, self.left = 0, threading.Lock(), time.monotonic()

    def welcome(self, connection: socket.socket) -> None:
        with self.alone:
            self.readers += 1
        threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        """Answer one reader until it leaves or is killed."""
        cursor = None
        try:
            with connection, suppress(OSError):
                receive(connection)
                send(connection, {"process": os.getpid(), "version": self.version})
                cursor = self.follow(connection)
                while cursor is not None:
                    message, _ = receive(connection)
                    self.deliver(connection, cursor, int(message["number"]))
        finally:
            if cursor is not None:
                self.engine.leave(cursor)
            with self.alone:
                self.readers, self.left = self.readers - 1, time.monotonic()

    def follow(self, connection: socket.socket) -> Cursor | None:
        _, handle = receive(connection)
        if handle is None:
            return None
        try:
            cursor = self.engine.join(StreamSource.unpack(handle))
        except (ValueError, TypeError, KeyError) as error:
            send(connection, {"refused": str(error)})
            return None
        finally:
            os.close(handle)
        send(connection, {})
        return cursor

    def deliver(self, connection: socket.socket, cursor: Cursor, number: int) -> None:
        while (batch := self.engine.request(cursor, number, BUSY_SECONDS)) is None:
            send(connection, {"busy": True})
        slot = batch.slot
        answer = {"failed": batch.failed, "cost": self.engine.take_cost(batch)}
        send(connection, answer, slot.handle if isinstance(slot, SharedSlot) else None)

    def idle(self) -> bool:
        with self.alone:
            return not self.readers and time.monotonic() - self.left > IDLE_SECONDS


def run_helper(record: dict[str, Any]) -> None:
    """Serve until nobody reads. `record`: `threads`, `limit` (bytes of the ring), `version`, and either `owner`, the
    descriptor of the socket of the process whose readers alone are served, or `socket`, the path at which all find it.
    """
    torch.set_num_threads(1)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    torchvision_agrees()
    private = "owner" in record
    engine = Engine(record["threads"], record["limit"], SharedSlot.create, keep_passed=not private)
    helper = Helper(engine, record["version"])
    if private:
        serve_owner(helper, socket.socket(fileno=record["owner"]))
    else:
        listen(helper, Path(record["socket"]))
    os._exit(0)  # threads may be in the middle of an image


def serve_owner(helper: Helper, control: socket.socket) -> None:
    """Welcome the readers whose sockets come over `control`, until the process at its other end closes it or ends."""
    with control, suppress(OSError):
        while True:
            _, handle = receive(control)
            if handle is not None:
                helper.welcome(socket.socket(fileno=handle))


def listen(helper: Helper, path: Path) -> None:
    """Welcome readers at `path`. The caller is the only process that serves there."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))
        door.listen(128)
        door.settimeout(LOOK_SECONDS)
        while not helper.idle():
            with suppress(TimeoutError):
                connection, _ = door.accept()
                connection.settimeout(None)
                helper.welcome(connection)
        path.unlink(missing_ok=True)
