"""A driver whose Ray has died ends with one sentence; one that is slow to answer is no reason."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from automl_kd.cluster import session
from automl_kd.cluster.watchdog import EXIT_CODE, LOST, refused


def listening() -> tuple[socket.socket, str]:
    server = socket.create_server(("127.0.0.1", 0))
    return server, f"127.0.0.1:{server.getsockname()[1]}"


def test_only_a_door_behind_which_nobody_is_refuses():
    server, door = listening()
    assert not refused(door)
    assert not refused(door)  # nobody has taken the first connection yet
    server.close()
    assert refused(door)
    assert not refused("nobody.invalid:6379")  # no address: nothing is known about it


def test_the_process_ends_with_a_sentence_when_the_door_is_gone():
    watching = (
        "import socket, threading\nfrom automl_kd.cluster.watchdog import watch\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "door = f'127.0.0.1:{server.getsockname()[1]}'\n"
        "threading.Thread(target=watch, args=([door], threading.Event()), daemon=True).start()\n"
        "print('watched', flush=True)\nserver.close()\nthreading.Event().wait(600)"
    )
    ended = subprocess.run([sys.executable, "-c", watching], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (EXIT_CODE, "watched\n", f"{LOST}\n")


def test_a_ray_that_does_not_come_up_is_one_sentence(monkeypatch):
    def fail(**_options: object) -> None:
        raise RuntimeError("The current node timed out during startup.\nand more")

    monkeypatch.setattr("ray.init", fail)
    with pytest.raises(SystemExit, match=r"^automl-kd: Ray did not start on this machine \(The current node timed out"):
        session.start()
