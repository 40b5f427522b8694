"""What readers and the helper process say to each other: a line of JSON, and with it an open file at most.

A reader asks and waits for the answer. It begins with {"version"}, answered by {"version", "process"}, and with
{"follow": true} and the packed source, answered by {} or {"refused": why}. Then it asks for the {"number"} of a batch,
answered by {"busy": true}, after which another answer follows, or by {"failed", "cost"} and the file of its views.
A process with a helper of its own sends it {"reader": true} and the socket of each of its readers, unanswered.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from typing import Any

LONGEST = 2**20
"""Bytes of a line."""
PIECE = 2**16


def send(connection: socket.socket, message: Mapping[str, Any], handle: int | None = None) -> None:
    line = json.dumps(message).encode() + b"\n"
    if handle is None:
        connection.sendall(line)
        return
    rest = line[socket.send_fds(connection, [line], [handle]) :]
    if rest:  # to send nothing fails where the other side has answered already and left
        connection.sendall(rest)


def receive(connection: socket.socket) -> tuple[dict[str, Any], int | None]:
    """A message and the file sent with it, which the caller closes. `ConnectionError` at the end, or for no message."""
    line, handles = b"", list[int]()
    try:
        while not line.endswith(b"\n") and len(line) < LONGEST:
            piece, found, _, _ = socket.recv_fds(connection, PIECE, 1, socket.MSG_CMSG_CLOEXEC)
            handles += found
            line += piece
            if not piece:
                break
        message = dict(json.loads(line))
    except (OSError, ValueError, TypeError) as error:
        for handle in handles:
            os.close(handle)
        raise ConnectionAbortedError("the other side has ended, or sent no message") from error
    return message, handles[0] if handles else None
