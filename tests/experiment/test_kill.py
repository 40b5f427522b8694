"""The whole command in a process of its own: interrupted and killed, several trials at once, the same command goes on.

One at a time, and killed in every way: `test_torture.py`.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import automl_kd
from automl_kd.models.weights.checkpoint import save_weights
from tests import ROOT, tiny

pytestmark = [pytest.mark.ray, pytest.mark.slow]

TRIALS = 12

EXPERIMENT = """
name = "killed"
space = "tests.tiny:SPACE"
method = "tests.tiny:Pretend"
options = {{ seconds = 0.15 }}
data = {{ name = "tests.tiny:source", validation = 0.2 }}
teacher = {{ model = "tests.tiny:teacher", checkpoint = "{teacher}" }}
recipe = {{ epochs = 3, batch_size = 16 }}
finalists = {{ seeds = [0], count = 1, readings = ["compute"] }}
trial = {{ device = "cpu", max_concurrent = {concurrent} }}

[search]
sampler = "evolution"
options = {{ population = 4, tournament = 2 }}
trials = {trials}
scheduler = "asha"
"""


def describe(root: Path, concurrent: int) -> str:
    """The experiment, with a teacher from a file, which takes no time."""
    file = root / "teacher.pt"
    if not file.exists():
        torch.manual_seed(0)
        save_weights(tiny.teacher(tiny.SHAPE), file)
    return EXPERIMENT.format(teacher=file, concurrent=concurrent, trials=TRIALS)


SPOKEN = [
    r"data tests\.tiny:source: 3 classes, 88 training, .*",
    r"teacher tests\.tiny:teacher, measured on validation(: .*)?",
    r"teacher checked under \d+ kinds of preprocessing(: \d+ of \d+ kinds)?",
    r"the teacher is right on .* as configured, and nothing else that was tried is better(; yet .*)?",
    r"Warning: the teacher \(tests\.tiny:teacher, from a file\) is right on .*",
    rf"search, {TRIALS} trials by evolution(: \d+ of {TRIALS} trials, best [\d.]+%(, latest [\d.]+%)?)?",
    r"finalists and baselines(: \d+ of \d+ epochs, validation [\d.]+%)?",
    r"automl-kd: interrupted; finished trials are recorded, and the same command continues",
]
"""What may appear on stderr."""


class Command:
    """`automl-kd search` in a session of its own, so that whatever it starts can be found and ended with it."""

    def __init__(self, root: Path, concurrent: int) -> None:
        (root / "experiment.toml").write_text(describe(root, concurrent), encoding="utf-8")
        self.folder = root / "results" / "killed"
        self.stderr = root / "stderr"
        with self.stderr.open("w", encoding="utf-8") as err, (root / "stdout").open("w", encoding="utf-8") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "automl_kd", "search", root / "experiment.toml", "--out", root / "results"],
                cwd=ROOT,
                env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"},
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def recorded(self) -> int:
        return len(list((self.folder / "rows" / "trial_kind=search").glob("[!_]*.parquet")))

    def wait_for_rows(self, count: int) -> None:
        self.wait_until(lambda: self.recorded() >= count or self.process.poll() is not None, 120)
        assert self.process.poll() is None, self.stderr.read_text(encoding="utf-8")

    def wait_until(self, holds: Callable[[], bool], seconds: float) -> None:
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end
            time.sleep(0.05)

    def workers(self) -> list[int]:
        """Processes of this command that carry out trials, and those that start them."""
        return [
            pid for pid, name in members(self.process.pid) if name.startswith("ray::ImplicitFunc") or "/raylet" in name
        ]

    def end(self) -> None:
        """Nothing that this command started outlives the test."""
        for pid, _ in members(self.process.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()


def members(session: int) -> list[tuple[int, str]]:
    """The processes of a session that run, with their command lines."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            name = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(status[3]) == session and status[0] != "Z":
            found.append((int(folder.name), name))
    return found


@pytest.fixture
def command():
    """Starts commands, and ends them with all that they started."""
    started: list[Command] = []

    def start(root: Path, concurrent: int) -> Command:
        started.append(Command(root, concurrent))
        return started[-1]

    yield start
    for one in started:
        one.end()


def finish(one: Command) -> pd.DataFrame:
    assert one.process.wait(180) == 0, one.stderr.read_text(encoding="utf-8")
    assert heard(one) == []
    assert not list(one.folder.glob("tune-*"))
    rows = automl_kd.read_results(one.folder).rows
    assert not rows.duplicated(["trial_kind", "role", "key"]).any()
    search = rows[rows["trial_kind"] == "search"]
    assert sorted(search["proposal"]) == list(range(TRIALS))
    assert set(search["status"]) <= {"complete", "stopped"}
    final = rows[rows["trial_kind"] == "final"]
    assert sorted(final["role"]) == sorted(tiny.ROLES)
    assert set(final["status"]) == {"complete"}
    return rows


def kill(one: Command) -> None:
    """As the system does when memory runs out, and everybody else notices in time."""
    os.kill(one.process.pid, signal.SIGKILL)
    one.process.wait()
    one.wait_until(lambda: not one.workers(), 30)


def instants(seed: int) -> list[tuple[int, float]]:
    """Two moments of a search: so many trials recorded, and so many seconds later."""
    rng = np.random.default_rng(seed)
    first = int(rng.integers(1, 4))
    return [(first, float(rng.uniform(0, 0.5))), (first + int(rng.integers(1, 4)), float(rng.uniform(0, 0.5)))]


def heard(one: Command) -> list[str]:
    """Lines on stderr that are not ours."""
    lines = one.stderr.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not any(re.fullmatch(pattern, line) for pattern in SPOKEN)]


@pytest.mark.long
def test_several_at_a_time_nothing_is_lost_and_nothing_doubled(tmp_path, command):
    interrupted = command(tmp_path, 2)
    interrupted.wait_for_rows(1)
    os.kill(interrupted.process.pid, signal.SIGINT)
    assert interrupted.process.wait(60) == 130
    assert heard(interrupted) == []
    interrupted.wait_until(lambda: not interrupted.workers(), 30)
    before = set(automl_kd.read_results(interrupted.folder).rows["key"])
    rows, seconds = instants(2)[1]
    one = command(tmp_path, 2)
    one.wait_for_rows(rows + 1)
    time.sleep(seconds)
    kill(one)
    between = set(automl_kd.read_results(one.folder).rows["key"])
    last = command(tmp_path, 2)
    assert before <= between <= set(finish(last)["key"])
    assert_stdout_is_the_report(last, tmp_path)


def assert_stdout_is_the_report(one: Command, root: Path) -> None:
    """Nothing but what `leaderboard` prints of the same folder, and the two files."""
    again = subprocess.run(
        [sys.executable, "-m", "automl_kd", "leaderboard", one.folder, "--out", root / "again"],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=True,
    )
    said = (root / "stdout").read_text(encoding="utf-8")
    assert said == again.stdout.replace(str(root / "again"), str(one.folder))
