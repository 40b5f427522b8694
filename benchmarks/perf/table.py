"""The NAS-Bench-201 table: seconds to load it, look-ups per second.

Look-ups are of a validation and a test accuracy for architectures drawn at random: by row, by official number, by
string. *one by one* asks for the same rows in a Python loop; it must give the same numbers. Wall time, one process, the
median of the rounds; everything is done in turn, so that other work on the machine falls on all.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from automl_kd.errors import ConfigError
from automl_kd.nasbench.table.columns import Integers, Reals
from automl_kd.nasbench.table.table import Table, find_table

LOOPED = 10_000
"""Look-ups of the slow way in one round."""


def main() -> None:
    options = arguments()
    try:
        path = find_table(options.nasbench201)
    except ConfigError as error:
        print(f"the table was not measured: {error}")
        return
    seconds = [timed(lambda: Table.load(path)) for _ in range(options.rounds)]
    table = Table.load(path)
    print(f"loading {table.extent} with {len(table.devices)} devices: {statistics.median(seconds):.3f} s (limit 0.5)")
    print("| look-up | per second, median | range | limit |\n|---|---|---|---|")
    for name, rates in measured(table, options.lookups, options.rounds).items():
        limit = "" if name == "one by one" else "1e6"
        print(f"| {name} | {statistics.median(rates):.1e} | {min(rates):.1e} to {max(rates):.1e} | {limit} |")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time the NAS-Bench-201 table.")
    parser.add_argument("--nasbench201", type=Path)
    parser.add_argument("--lookups", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=9)
    return parser.parse_known_args()[0]


def measured(table: Table, lookups: int, rounds: int) -> Mapping[str, list[float]]:
    """Look-ups per second of each way, in each round."""
    rows = np.random.default_rng(0).integers(len(table), size=lookups)
    numbers = table.arch_index[rows]
    strings = [table.arch_str[row] for row in rows]
    choosing, reporting = table.choosing("cifar10").values, table.reporting("cifar10").values

    def both(found: Integers) -> list[Reals]:
        return [choosing[found], reporting[found]]

    def one_by_one() -> list[list[float]]:
        pairs = [(choosing[row], reporting[row]) for row in rows[:LOOPED]]
        return [list(column) for column in zip(*pairs, strict=True)]

    assert np.array_equal(both(table.rows_of(numbers[:LOOPED])), one_by_one())
    ways: Mapping[str, tuple[int, Callable[[], object]]] = {
        "by row": (lookups, lambda: both(rows)),
        "by official number": (lookups, lambda: both(table.rows_of(numbers))),
        "by string": (lookups, lambda: both(np.array([table.index_of(text) for text in strings]))),
        "one by one": (LOOPED, one_by_one),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (count, way) in ways.items():
            rates[name].append(count / timed(way))
    return rates


def timed(call: Callable[[], object]) -> float:
    """Seconds on the wall."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
