"""What `automl-kd pick` takes beyond `automl-kd --version`, on archives of many scored students.

Processes from start to exit, in turn, on the clock of the wall: that is what somebody waits for. Two archives of equal
content: "search" has its scores as a search's proxy filter writes them, a file for each pool of 20, "score" as
`automl-kd score` does, in one file. Both have trained students besides, with folded rows.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from automl_kd.results import ResultTable, Row
from automl_kd.results.store.row import ScoreRow
from automl_kd.results.store.scores import write_scores

LIMIT_SECONDS = 1.0
POOL = 20
SPACE = "search_spaces.mobile:SPACE"
PROXIES = ("macs", "zen")


def write_archive(folder: Path, scored: int, trained: int, pool: int) -> Path:
    """`scored` students by two proxies, written `pool` at a time, of which `trained` were trained as well."""
    rng = np.random.default_rng(0)
    students = [described(number, rng) for number in range(scored)]
    for start in range(0, scored, pool):
        write_scores(folder, (row for one in students[start : start + pool] for row in scores_of(one, rng)))
    table = ResultTable(folder)
    for number, one in enumerate(students[:trained]):
        table.append(trial_of(number, one, float(rng.uniform(0.3, 0.8))))
    table.fold()
    record = {"name": folder.name, "space": SPACE, "data": {"name": "digits"}, "recipe": {"epochs": 8}}
    (folder / "experiment.json").write_text(json.dumps(record))
    return folder


def described(number: int, rng: np.random.Generator) -> dict[str, object]:
    """A student with as many values, and as long a description, as those of the space `mobile`."""
    values = {
        f"{name}{stage}": int(rng.integers(1, 512)) for name in ("depth", "width", "kernel") for stage in range(9)
    }
    return {
        "space": SPACE,
        "architecture_id": f"{number:012x}",
        "values_json": json.dumps(values),
        "student": " ".join(f"{width}x2k3e6" for width in list(values.values())[:8]),
        "params": int(10 ** rng.uniform(5, 6.3)),
        "macs": int(10 ** rng.uniform(6, 7.5)),
        "dataset": "digits",
        "seed": 0,
    }


def scores_of(student: dict[str, object], rng: np.random.Generator) -> Iterator[ScoreRow]:
    for proxy in PROXIES:
        yield ScoreRow(**student, proxy=proxy, score=float(rng.normal()), seconds=0.1, images=64)  # type: ignore[arg-type]


def trial_of(number: int, student: dict[str, object], accuracy: float) -> Row:
    return Row(
        **student,  # type: ignore[arg-type]
        trial_kind="search",
        role="search",
        key=f"{number:016x}",
        status="complete",
        method="kd",
        options_json="{}",
        epochs=8,
        epochs_done=8,
        val_accuracy=accuracy,
        test_accuracy=accuracy,
        config_hash="c0ffee",
        experiment="archive",
    )


def seconds_of(arguments: list[str]) -> float:
    begun = time.monotonic()
    subprocess.run([sys.executable, "-m", "automl_kd", *arguments], check=True, capture_output=True)
    return time.monotonic() - begun


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scored", type=int, default=10_000)
    parser.add_argument("--trained", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args(arguments or [])
    with tempfile.TemporaryDirectory() as place:
        pools = {"search": POOL, "score": chosen.scored}
        folders = {
            name: write_archive(Path(place) / name, chosen.scored, chosen.trained, n) for name, n in pools.items()
        }
        commands = {"version": ["--version"]}
        commands |= {name: ["pick", str(folder), "--max-params", "500k"] for name, folder in folders.items()}
        spent: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(chosen.rounds + 1):
            for name in commands if number % 2 else reversed(list(commands)):
                seconds = seconds_of(commands[name])
                if number:  # the first round fills the caches of files
                    spent[name].append(seconds)
    middle = {name: statistics.median(seconds) for name, seconds in spent.items()}
    print(f"medians of {chosen.rounds}: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in middle.items()))
    for name in pools:
        beyond = middle[name] - middle["version"]
        verdict = "within" if beyond <= LIMIT_SECONDS else "BEYOND"
        print(f"pick beside {chosen.scored:,} scored ({name}): {beyond:.2f} s, {verdict} {LIMIT_SECONDS:g} s")


if __name__ == "__main__":
    main(sys.argv[1:])
