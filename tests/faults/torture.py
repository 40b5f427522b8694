"""Kill a real search at random instants, again and again, and compare it with an unbroken one."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.faults.checks import Seen, differences, look, outcome
from tests.faults.session import SearchSession, until

TARGETS = ("driver", "worker", "raylet", "all")

NAME = "tortured"

EXPERIMENT = f"""
name = "{NAME}"
space = "tests.faults.subject:SPACE"
method = "kd"
data = {{ name = "tests.faults.subject:images", validation = 0.25 }}
teacher = {{ model = "tests.faults.subject:teacher", recipe = {{ epochs = 3, batch_size = 16 }} }}
recipe = {{ epochs = 4, batch_size = 16 }}
finalists = {{ seeds = [0], count = 1, baseline = {{ width = 12, depth = 2 }} }}
trial = {{ device = "cpu", max_concurrent = 1, retries = 50 }}

[search]
sampler = "evolution"
options = {{ population = 3, tournament = 2 }}
trials = 6
scheduler = "asha"
grace_epochs = 2
reduction = 1.5
"""

NOT_STARTED = "automl-kd: Ray did not start on this machine"

LONGEST_SECONDS = 900.0
"""A session that takes longer hangs."""

END_SECONDS = 90.0
"""How long a driver may take to end when the Ray below it is gone."""


@dataclass
class Report:
    """What was done, and what went wrong with it."""

    kills: Counter[str] = field(default_factory=Counter)
    sessions: int = 0
    failed_starts: int = 0
    """Sessions in which Ray did not come up by itself, as happens on a machine that has too much to do."""
    searches: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.kills.values())

    def blame(self, where: str, complaints: list[str]) -> None:
        for complaint in complaints:
            self.wrong.append(f"{where}: {complaint}")
            print(f"VIOLATION {self.wrong[-1]}", flush=True)

    def __str__(self) -> str:
        kills = ", ".join(f"{self.kills[target]} {target}" for target in TARGETS if self.kills[target])
        return (
            f"{self.total} kills ({kills}) in {self.sessions} sessions of {self.searches} searches, "
            f"{self.failed_starts} in which Ray did not start, "
            f"{len(self.wrong)} violations"
        )


class Search:
    """One search that is begun, killed and begun again until it is done."""

    def __init__(self, root: Path, report: Report, experiment: str = EXPERIMENT) -> None:
        """`experiment`: its file, of one that is called `NAME`."""
        root.mkdir(parents=True)
        (root / "experiment.toml").write_text(experiment, encoding="utf-8")
        self.root, self.report = root, report
        self.folder = root / "results" / NAME
        self.seen = Seen()
        report.searches += 1

    def start(self) -> SearchSession:
        self.report.sessions += 1
        return SearchSession(
            ["search", str(self.root / "experiment.toml"), "--out", str(self.root / "results")], self.root
        )

    def check(self, where: str) -> None:
        self.seen, wrong = look(self.folder, self.seen)
        self.report.blame(where, wrong)

    def undisturbed(self) -> float:
        """Run it in one session; the seconds that this took."""
        session = self.start()
        session.wait(LONGEST_SECONDS)
        took = time.monotonic() - session.begun
        self.close(session, "the unbroken search")
        return took

    def close(self, session: SearchSession, where: str) -> None:
        """A session that came to its own end: nothing in it was wrong and nothing of it is left."""
        if session.code != 0:
            self.report.blame(where, [f"ended with {session.code}: {session.stderr()[-400:]}"])
        self.after(session, where)
        self.report.blame(where, [f"{path.name} was left behind" for path in self.folder.glob("tune-*")])

    def after(self, session: SearchSession, where: str) -> None:
        complaints = [] if session.gone() else [f"left behind: {', '.join(session.left())}"]
        session.end()
        if "Traceback" in session.stderr():
            complaints.append(f"a traceback: {session.stderr()[-400:]}")
        self.report.blame(where, complaints)
        self.check(where)

    def marks(self) -> set[Path]:
        """What shows that work is being done: it grows with every proposal, checkpoint, row and stage."""
        kinds = ("rows/*/[!_]*", "trials/*/*", "tune-*", "../teachers/*/*")
        return {path for kind in kinds for path in self.folder.glob(kind)}


def tortured(root: Path, rng: np.random.Generator, targets: list[str], kills: int, report: Report, span: float) -> None:
    """Carry a search out under at most `kills` kills; its folder ends up in `root`."""
    search = Search(root, report)
    last = report.total + kills
    while True:
        session, over = search.start(), False
        while not over and report.total < last and await_instant(search, session, rng, span):
            over = kill(search, session, str(rng.choice(targets)))
        if over:
            continue
        where = f"session {report.sessions}, after {report.total} kills"
        if not session.wait(LONGEST_SECONDS):
            report.blame(where, ["hangs"])
        if NOT_STARTED not in session.stderr():
            search.close(session, where)
            return
        report.failed_starts += 1
        search.after(session, where)


def kill(search: Search, session: SearchSession, target: str) -> bool:
    """Kill `target` as soon as it is there, and look at what is left; whether the session has ended by that."""
    report = search.report
    until(lambda: bool(session.processes(target)) or session.code is not None, END_SECONDS)
    if not session.kill(target):
        return False
    report.kills[target] += 1
    where = f"kill {report.total} ({target}, {time.monotonic() - session.begun:.1f} s)"
    over = target != "worker"
    if not over:
        search.check(where)
    elif not session.wait(END_SECONDS):
        report.blame(where, ["the driver hangs"])
        session.end()
    elif session.code == 2:
        report.blame(where, [f"ended with 2: {session.stderr()[-400:]}"])
    if over:
        search.after(session, where)
    print(f"{where}: {len(search.seen.rows)} rows, {len(search.seen.proposals)} proposals", flush=True)
    return over


def await_instant(search: Search, session: SearchSession, rng: np.random.Generator, span: float) -> bool:
    """Wait for a random instant: of the whole life of a session, or shortly after signs of work. False if it ended."""
    if rng.random() < 0.3:
        return not session.wait(rng.uniform(0, span))
    signs, known = int(rng.integers(1, 8)), search.marks()
    until(lambda: len(search.marks() - known) >= signs or session.code is not None, LONGEST_SECONDS)
    return not session.wait(rng.uniform(0, 1.0))


def torture(kills: int, seed: int, targets: list[str], root: Path) -> Report:
    """At least `kills` kills, in as many searches as they take, each compared with one that nobody disturbed."""
    report = Report()
    rng = np.random.default_rng(seed)
    begun = time.monotonic()
    unbroken = Search(root / "unbroken", report)
    span = unbroken.undisturbed()
    print(f"unbroken: {span:.0f} s, {len(unbroken.seen.rows)} rows", flush=True)
    wanted = outcome(unbroken.folder)
    while report.total < kills and len(report.wrong) < 20:
        folder = root / f"search{report.searches}"
        tortured(folder, rng, targets, kills - report.total, report, span)
        complaints = compared(folder / "results" / NAME, wanted)
        report.blame(f"search {report.searches}", complaints)
        print(f"{time.monotonic() - begun:.0f} s: {report}", flush=True)
        if not complaints:
            shutil.rmtree(folder)
    return report


def compared(folder: Path, wanted: dict[str, Any]) -> list[str]:
    try:
        return differences(outcome(folder), wanted)
    except Exception as error:  # whatever it is, it is what the torture is there to find
        return [f"its outcome cannot be read: {type(error).__name__}: {error}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", default=",".join(TARGETS), help="of " + ", ".join(TARGETS))
    parser.add_argument("--out", type=Path, help="keep what was searched in this folder, which must not exist")
    arguments = parser.parse_args()
    targets = arguments.target.split(",")
    if unknown := sorted(set(targets) - set(TARGETS)):
        parser.error(f"--target got {unknown[0]!r}; name some of {', '.join(TARGETS)}")
    with tempfile.TemporaryDirectory(prefix="torture-") as scratch:
        report = torture(arguments.kills, arguments.seed, targets, (arguments.out or Path(scratch)).absolute())
    print(report)
    for line in report.wrong:
        print(f"  {line}")
    sys.exit(1 if report.wrong else 0)


if __name__ == "__main__":
    main()
