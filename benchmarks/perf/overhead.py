"""What a search takes on the clock beside what its trials take: of this checkout, and of an older one in turn.

Run it from the project's root: `python -m benchmarks.perf.overhead [OLDER] [--experiment FILE] [--rounds 5]`; OLDER is
a worktree of an earlier commit (`git worktree add OLDER COMMIT`).

- *wall*: seconds from the start of `automl-kd search` to its exit, in an empty folder of results.
- *trained*: the sum of `seconds` over all trials.
- *wall over training*: wall over trained / workers; 1 if workers trained from beginning to end.

Each round runs both once, the older first in every other round. Without OLDER only this checkout's figures are printed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from automl_kd.results.store.table import read_results
from benchmarks.perf.alternation import quartiles

ROOT = Path(__file__).parents[2]
EXPERIMENT = Path(__file__).with_name("overhead.toml")
LIMITS = {"wall": 0.70, "trained": 1.02}
"""New over older, medians."""


SAME_FINALS = ["--set", 'finalists.readings=["compute"]', "--set", "finalists.whole_epochs=true"]
"""So that checkouts that know them train the finals of those that do not."""


class Search(NamedTuple):
    """Seconds of one run; see above."""

    wall: float
    trained: float

    @property
    def over_training(self) -> float:
        return self.wall / (self.trained / workers())


def workers() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def search(checkout: Path, experiment: Path) -> Search:
    """One whole search by the code of `checkout`, as a process of its own."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "automl_kd", "search", str(experiment), "--out", out, "--progress", "none"]
        if (checkout / "automl_kd" / "spec" / "roles.py").exists():
            command += SAME_FINALS
        begun = time.monotonic()
        subprocess.run(
            command,
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        wall = time.monotonic() - begun
        rows = read_results(out).rows.drop_duplicates("key")  # a trial that stands for two roles has two
        return Search(wall, float(rows["seconds"].sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("older", type=Path, nargs="?")
    parser.add_argument("--experiment", type=Path, default=EXPERIMENT)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    checkouts = {"new": ROOT} | ({"older": asked.older.absolute()} if asked.older else {})
    found: dict[str, list[Search]] = {name: [] for name in checkouts}
    for number in range(asked.rounds):
        for name in checkouts if number % 2 else reversed(list(checkouts)):
            found[name].append(search(checkouts[name], asked.experiment.absolute()))
            wall, trained = found[name][-1]
            print(f"round {number + 1}, {name}: wall {wall:.1f} s, trained {trained:.1f} s", flush=True)
    for name, runs in found.items():
        print(f"{name}: wall over training {spread([one.over_training for one in runs])}")
    if "older" in found:
        report(found["new"], found["older"])


def report(new: Sequence[Search], older: Sequence[Search]) -> None:
    """The ratios of pairs, and exit code 1 for a median above its limit."""
    missed = False
    for name, limit in LIMITS.items():
        ratios = [getattr(one, name) / getattr(other, name) for one, other in zip(new, older, strict=True)]
        missed |= statistics.median(ratios) > limit
        print(f"{name}, new over older: {spread(ratios)}, limit {limit:.2f}")
    sys.exit(missed)


def spread(values: Sequence[float]) -> str:
    """Median, and quartiles where there are several."""
    if len(values) < 2:
        return f"{values[0]:.3f}"
    low, middle, high = quartiles(values)
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()
