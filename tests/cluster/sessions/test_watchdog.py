"""A driver whose Ray has died ends with one sentence; one that is slow to answer is no reason."""

from __future__ import annotations

import itertools
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest

from automl_kd.cluster.sessions import private, watchdog
from automl_kd.cluster.sessions.watchdog import EXIT_CODE, LOST, refused


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
        "import pathlib, socket, threading\nfrom automl_kd.cluster.sessions.watchdog import watch\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "door = f'127.0.0.1:{server.getsockname()[1]}'\n"
        "threading.Thread(target=watch, args=([door], threading.Event(), pathlib.Path()), daemon=True).start()\n"
        "print('watched', flush=True)\nserver.close()\nthreading.Event().wait(600)"
    )
    ended = subprocess.run([sys.executable, "-c", watching], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (EXIT_CODE, "watched\n", f"{LOST}\n")


@pytest.mark.parametrize(("free", "ends"), [([0] * 90, True), ([0] * 10 + [2**30] + [0] * 30, False)])
def test_the_process_ends_with_a_sentence_when_ray_has_no_room_for_its_files(monkeypatch, tmp_path, free, ends):
    # A look each half second; full for 20 seconds on end is too long.
    looks, said = iter(free), list[str]()
    clock = itertools.count(0.0, watchdog.WATCH_SECONDS / 2)
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=next(looks)))

    class Over:
        """Set when nobody looks any more."""

        def wait(self, _seconds: float) -> bool:
            return bool(said) or next(self.left, True)

        def is_set(self) -> bool:
            return False

        left = iter([False] * len(free))

    monkeypatch.setattr(watchdog, "end", said.append)
    watchdog.watch([], Over(), tmp_path)  # type: ignore[arg-type]  # as much of an Event as is needed
    assert bool(said) == ends
    if ends:
        assert said[0].startswith(f"automl-kd: {tmp_path}, where Ray keeps its own files, is full; make room or name")


def test_a_ray_that_does_not_come_up_is_one_sentence(monkeypatch):
    def fail(**_options: object) -> None:
        raise RuntimeError("The current node timed out during startup.\nand more")

    monkeypatch.setattr("ray.init", fail)
    with pytest.raises(SystemExit, match=r"^automl-kd: Ray did not start on this machine \(The current node timed out"):
        private.start()
