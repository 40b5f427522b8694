"""One start of a command, in a session of its own, and the ways in which it is ended before its time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests import ROOT

GONE_SECONDS = 180.0
"""How long what a killed process leaves running may take to notice and end."""

MARKS = {"worker": "ray::ImplicitFunc", "raylet": "/raylet/raylet "}
"""What the command lines of the processes that can be aimed at hold."""


class SearchSession:
    """`python -m automl_kd ARGUMENTS`, its words in two files in `folder`."""

    def __init__(self, arguments: list[str], folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.out, self.err = folder / "stdout", folder / "stderr"
        with self.out.open("w", encoding="utf-8") as out, self.err.open("w", encoding="utf-8") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "automl_kd", *arguments],
                cwd=ROOT,
                env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120", **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self.begun = time.monotonic()

    @property
    def code(self) -> int | None:
        return self.process.poll()

    def stderr(self) -> str:
        return self.err.read_text(encoding="utf-8", errors="replace")

    def processes(self, target: str) -> list[int]:
        """Those that a kill of `target` ("driver", "worker", "raylet" or "all") would hit."""
        if target == "driver":
            return [self.process.pid] if self.code is None else []
        return [pid for pid, name in members(self.process.pid) if MARKS.get(target, "") in name]

    def kill(self, target: str) -> bool:
        """SIGKILL; whether there was anything to kill."""
        found = self.processes(target)
        for pid in found:
            kill(pid)
        return bool(found)

    def wait(self, seconds: float) -> bool:
        """Whether the driver ends within `seconds`."""
        return until(lambda: self.code is not None, seconds)

    def gone(self) -> bool:
        """Whether all that this session started ends by itself."""
        return until(lambda: not members(self.process.pid), GONE_SECONDS)

    def left(self) -> list[str]:
        """What of it still runs."""
        return [name[:80].strip() for _, name in members(self.process.pid)]

    def end(self) -> None:
        """End whatever is left of it."""
        while found := members(self.process.pid):
            for pid, _ in found:
                kill(pid)
            time.sleep(0.05)
        self.process.wait()


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def until(holds: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def members(session: int) -> list[tuple[int, str]]:
    """The processes of a session that run, with their command lines."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            name = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(status[3]) == session and status[0] != "Z":
            found.append((int(folder.name), name))
    return found
