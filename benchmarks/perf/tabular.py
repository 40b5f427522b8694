"""Searches of a table: seconds for hundreds of seeds, beside the samplers that step one seed at a time.

`python -m benchmarks.perf.tabular TABLE [--seeds 500]`, with TABLE a folder that holds nasbench201.parquet. The limit,
60 seconds for 500 seeds of 1,000 steps of regularised evolution, is checked; the script fails beyond it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from automl_kd.nasbench.samplers import Bench, explore, make_table_sampler
from automl_kd.nasbench.table.table import VALIDATION_LIKE, Table, find_table
from automl_kd.samplers import SearchObjective, make_sampler
from automl_kd.space import Scalar
from automl_kd.spec import Outcome
from search_spaces.nasbench201 import SPACE, to_string

LIMIT = 60.0
ROUNDS = 3

WORK: list[tuple[str, dict[str, Scalar], int]] = [
    ("evolution", {"population": 36, "tournament": 8}, 1000),
    ("evolution", {"population": 20, "tournament": 5}, 1000),
    ("random", {}, 300),
    ("local", {}, 300),
    ("tpe", {}, 300),
    ("nsga2", {}, 300),
    ("gp", {}, 100),
]


def seconds_of(work: Callable[[], object]) -> float:
    start = time.monotonic()
    work()
    return time.monotonic() - start


def one_seed(table: Table, queries: int) -> None:
    """The same evolution by the sampler that the trained searches use, looked up in the same column."""
    objective = SearchObjective("val_accuracy", maximise=True)
    options: dict[str, Scalar] = {"population": 36, "tournament": 8}
    sampler = make_sampler("evolution", SPACE, objectives=[objective], seed=0, options=options)
    values = table.choosing_named(VALIDATION_LIKE).values
    for index in range(queries):
        architecture = sampler.ask(index)
        accuracy = float(values[table.index_of(to_string(architecture.as_dict()))])
        outcome = Outcome(status="complete", metrics={"val_accuracy": accuracy}, epoch=1)
        sampler.tell(index, architecture, outcome)


def make_bench(table: Table) -> Bench:
    choosing = table.choosing_named(VALIDATION_LIKE)
    return Bench(
        encodings=table.encodings,
        neighbours=table.neighbours,
        choose=(choosing.values,),
        seconds=(table.seconds_of(choosing),),
        latency=table.macs("cifar10"),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path, nargs="?", help="file or folder; else AUTOML_KD_NASBENCH201")
    parser.add_argument("--seeds", type=int, default=500)
    given = parser.parse_args()
    table = Table.load(find_table(given.table))
    bench = make_bench(table)
    print(f"| search | steps | seconds for {given.seeds} seeds, median of {ROUNDS} | range |")
    print("|---|---|---|---|")
    spent: dict[str, float] = {}
    for kind, options, steps in WORK:
        work = partial(explore, make_table_sampler(kind, options), bench, range(given.seeds), steps)
        runs = [seconds_of(work) for _ in range(ROUNDS)]
        spent.setdefault(kind, median(runs))
        told = ", ".join(f"{name} {value}" for name, value in options.items())
        print(f"| {kind} {told} | {steps} | {median(runs):.2f} | {min(runs):.2f} to {max(runs):.2f} |")
    alone = seconds_of(partial(one_seed, table, 1000))
    print(f"one seed of 1000 steps by the sampler of trained searches: {alone:.2f} s, so {given.seeds} take", end=" ")
    print(f"{given.seeds * alone:.0f} s, {given.seeds * alone / spent['evolution']:.0f} times as long")
    if spent["evolution"] > LIMIT:
        raise SystemExit(f"evolution took {spent['evolution']:.1f} s, and the limit is {LIMIT:.0f} s")


if __name__ == "__main__":
    main()
