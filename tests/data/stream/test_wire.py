"""Messages and the files that go with them."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest

from automl_kd.data.stream.wire import receive, send


@pytest.fixture
def ends():
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def test_a_message_arrives_with_its_file(ends):
    one, other = ends
    handle = os.memfd_create("it")
    os.write(handle, b"content")
    send(one, {"failed": list(range(20_000))}, handle)
    os.close(handle)
    message, found = receive(other)
    assert message == {"failed": list(range(20_000))}
    assert found is not None
    assert os.pread(found, 10, 0) == b"content"
    os.close(found)
    send(other, {"number": 3})
    assert receive(one) == ({"number": 3}, None)


def test_the_other_side_may_leave_once_it_has_the_message(ends, monkeypatch):
    one, other = ends
    real = socket.send_fds

    def sent_and_left(connection: socket.socket, *given: Any) -> int:
        sent = real(connection, *given)
        other.close()
        return sent

    monkeypatch.setattr(socket, "send_fds", sent_and_left)
    handle = os.memfd_create("it")
    send(one, {"follow": True}, handle)
    os.close(handle)


@pytest.mark.parametrize("line", [b"", b'{"half": ', b"no json\n", b"3\n"])
def test_an_end_or_what_is_no_message_is_a_lost_connection(ends, line):
    one, other = ends
    one.sendall(line)
    one.close()
    with pytest.raises(ConnectionError, match="has ended, or sent no message"):
        receive(other)
