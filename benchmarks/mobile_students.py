"""Trains 60 students of `mobile` with and without a teacher: `python -m benchmarks.mobile_students TABLE.parquet`.

Half of the students lie within 2.5 % of `MIDDLE` multiply-adds at 64 pixels, where neither params nor multiply-adds
should tell which is better, and the others are spread evenly in the logarithm over `SPREAD`. Twelve, every fifth, are
trained with two more seeds, which tell the noise. All by `mobile_students.toml`, whose fields `--set` replaces.

The table is written anew after each training, so the same command goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from automl_kd import files
from automl_kd.config import load_experiment
from automl_kd.experiment.context import ExperimentContext, Roots
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.progress.events import Silent
from automl_kd.methods import run_trial
from automl_kd.space import Architecture, SearchSpace, sample_architecture
from automl_kd.spec import TrialPaths, TrialSpec

EXPERIMENT = Path(__file__).with_suffix(".toml")
STUDENTS, MIDDLE, WINDOW, SPREAD = 60, 5e6, 0.025, (1.5e6, 12e6)
REPEATED, SEEDS = 5, (0, 1, 2)


def draw_students(context: ExperimentContext) -> list[tuple[Architecture, str]]:
    """The students, each with the group that it was drawn for: "window" or "spread", in turn."""
    rng, space = np.random.default_rng(0), context.space
    edges = np.geomspace(*SPREAD, STUDENTS // 2 + 1)
    students = []
    for number in range(STUDENTS // 2):
        window = (MIDDLE * (1 - WINDOW), MIDDLE * (1 + WINDOW))
        students.append((draw_within(space, context, rng, *window), "window"))
        students.append((draw_within(space, context, rng, edges[number], edges[number + 1]), "spread"))
    return students


def draw_within(
    space: SearchSpace, context: ExperimentContext, rng: np.random.Generator, low: float, high: float
) -> Architecture:
    while True:
        drawn = sample_architecture(space, rng)
        if low <= context.cost(drawn).macs < high:
            return drawn


def trainings(context: ExperimentContext) -> Iterator[tuple[TrialSpec, str]]:
    """The most telling first: all students with the first seed, then the repeated ones with the others."""
    students = draw_students(context)
    for seed in SEEDS:
        for number, (student, group) in enumerate(students):
            for method in ("kd", "scratch") if seed == SEEDS[0] or number % REPEATED == 0 else ():
                yield spec_of(context, student, method, seed), group


def spec_of(context: ExperimentContext, student: Architecture, method: str, seed: int) -> TrialSpec:
    experiment = context.experiment
    return TrialSpec(
        space=experiment.space,
        architecture=student,
        method=method,
        options=experiment.options if method == "kd" else {},
        data=experiment.data,
        teacher=experiment.teacher if method == "kd" else None,
        recipe=experiment.recipe,
        seed=seed,
    )


def train(spec: TrialSpec, paths: TrialPaths) -> dict[str, float]:
    """The metrics of the last epoch."""
    torch.set_num_threads(1)
    last: dict[str, float] = {}

    def report(metrics: Any, *, epoch: int) -> None:
        last.update(metrics, epochs=epoch)

    run_trial(spec, report, paths)
    for left in paths.trial.iterdir():
        left.unlink()
    return last


def row_of(context: ExperimentContext, spec: TrialSpec, group: str, metrics: dict[str, float]) -> dict[str, Any]:
    cost = context.cost(spec.architecture)
    kept = ("val_accuracy", "val_loss", "train_loss", "test_accuracy", "epochs", "seconds")
    return {
        "architecture_id": spec.architecture.key,
        "values_json": json.dumps(spec.architecture.as_dict()),
        "student": context.space.label(spec.architecture),
        "params": cost.params,
        "macs": cost.macs,
        "group": group,
        "method": spec.method,
        "seed": spec.seed,
        "recipe_json": json.dumps(dataclasses.asdict(spec.recipe)),
        **{name: metrics.get(name, math.nan) for name in kept},
        "torch": torch.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("table", type=Path, help="the Parquet file of results")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--work", type=Path, default=Path("results"), help="scratch folder (default: results)")
    parser.add_argument("--workers", type=int, default=2, help="(default: 2)")
    parser.add_argument("--minutes", type=float, default=math.inf, help="after which no training is begun")
    options = parser.parse_args()
    experiment = load_experiment(EXPERIMENT, options.changes)
    roots = Roots(results=options.work.absolute(), data=(options.work / "data").absolute())
    context = prepare_experiment(experiment, roots, Silent())
    rows: list[Any] = pd.read_parquet(options.table).to_dict("records") if options.table.exists() else []
    known = {(row["architecture_id"], row["method"], row["seed"]) for row in rows}
    todo = [
        (spec, group)
        for spec, group in trainings(context)
        if (spec.architecture.key, spec.method, spec.seed) not in known
    ]
    print(f"{len(rows)} trainings done, {len(todo)} to do", flush=True)
    deadline, fork = time.monotonic() + 60 * options.minutes, multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.workers, mp_context=fork) as pool:
        running: dict[Any, tuple[TrialSpec, str]] = {}
        while running or (todo and time.monotonic() < deadline):
            while todo and len(running) < options.workers and time.monotonic() < deadline:
                spec, group = todo.pop(0)
                paths = dataclasses.replace(context.trial_paths(spec, "cpu"), trial=roots.results / "trials" / spec.key)
                running[pool.submit(train, spec, paths)] = (spec, group)
            done = next(as_completed(running))
            spec, group = running.pop(done)
            rows.append(row_of(context, spec, group, done.result()))
            with files.replacing(options.table) as scratch:
                pd.DataFrame(rows).to_parquet(scratch, index=False)
            found = f"{spec.method} {spec.seed}: {rows[-1]['test_accuracy']:.4f} ({rows[-1]['seconds']:.0f} s)"
            print(f"{len(rows)}: {rows[-1]['student']} {found}", flush=True)


if __name__ == "__main__":
    main()
