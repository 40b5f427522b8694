"""Tables of results: read beside Ray Tune's own frame of the same run, ranked by the million, appended to.

Run it from the project's root: `python -m benchmarks.perf.tables [--trials 10000] [--rows 1000000]`.

- *ours*: `automl_kd.read_results` of the folder that a finished search leaves, one part of rows and one of curves.
- *Tune*: the same trials, epochs and metrics in a folder as Tune's own logger writes them, one folder with a
  result.json for each trial. `ExperimentAnalysis` reads every trial's curve, `ResultGrid.get_dataframe` makes the table
  of trials: together what `read_results` gives. The list of trials is given; a new process would first unpickle it.
- *leaderboard*: rows of twenty experiments, five seeds for each architecture, from their files to the ranked frame.
- *append*: one trial with a curve of 30 epochs; the time in fsync, which belongs to the disk, is taken apart.

Time of the processor, as in alternation.py; appends by the clock, as what they wait for is part of them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd
from ray.train._internal.storage import StorageContext
from ray.tune import ExperimentAnalysis, ResultGrid
from ray.tune.experiment import Trial

import automl_kd
from automl_kd.results import ResultTable
from automl_kd.results.report.leaderboard import LEADERBOARD_COLUMNS, rank_results
from benchmarks import many_rows
from benchmarks.perf.alternation import Comparison, alternate, markdown, milliseconds
from tests.results.synthetic import curve
from tests.results.synthetic import row as one_row

Record = dict[Any, Any]
EPOCHS = 10
EXPERIMENTS, SEEDS = 20, 5
MEASURED = ("train_loss", "val_accuracy", "val_loss", "lr", "seconds")
LIMIT_SECONDS, LIMIT_MS = 5.0, 5.0


def write_tune_run(root: Path, rows: pd.DataFrame, curves: pd.DataFrame) -> list[Trial]:
    """A finished Tune experiment in `root/run` with the same trials; gives the list of them."""
    (root / "run").mkdir(parents=True)
    (root / "run" / "experiment_state-2026-01-02_12-00-00.json").write_text("{}")
    storage = StorageContext(storage_path=str(root), experiment_dir_name="run")
    points = {key: frame.to_dict("records") for key, frame in curves.groupby("key", sort=False, observed=True)}
    trials = []
    for row in rows.to_dict("records"):
        config = {"spec": row["spec_json"], "place": {"trial": f"/results/{row['key']}"}, "threads": 1}
        folder = root / "run" / row["key"]
        folder.mkdir()
        lines = [tune_line(row, point, config) for point in points[row["key"]]]
        (folder / "params.json").write_text(json.dumps(config))
        (folder / "result.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
        trial = Trial("work", stub=True, trial_id=row["key"], config=config, storage=storage)
        trial.storage.trial_dir_name = row["key"]
        trial.run_metadata.last_result = lines[-1]
        trials.append(trial)
    return trials


def tune_line(row: Record, point: Record, config: Record) -> Record:
    """One report as Tune logs it: what a trial of ours reports, what Tune adds, and the configuration."""
    return {
        **{name: point[name] for name in MEASURED},
        **{name: row[name] for name in ("params", "macs", "train_macs", "test_accuracy")},
        "epoch": point["epoch"],
        "timestamp": 1767355200,
        "checkpoint_dir_name": None,
        "done": point["epoch"] == EPOCHS,
        "training_iteration": point["epoch"],
        "trial_id": row["key"],
        "date": "2026-01-02_12-00-00",
        "time_this_iter_s": 1.5,
        "time_total_s": 15.0,
        "pid": 12345,
        "hostname": "node-17",
        "node_ip": "10.0.0.17",
        "config": config,
        "time_since_restore": 15.0,
        "iterations_since_restore": point["epoch"],
    }


def compare_reading(root: Path, count: int, rounds: int) -> None:
    """Both ways of reading one run, and that they give the same numbers."""
    many_rows.write(root / "ours", many_rows.rows(count, seeds=1, experiment="ours"), EPOCHS)
    found = automl_kd.read_results(root / "ours")
    trials = write_tune_run(root, found.rows, found.curves)

    def tune() -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
        analysis = ExperimentAnalysis(root / "run", trials=trials)
        return ResultGrid(analysis).get_dataframe(), analysis.trial_dataframes

    table, histories = tune()
    assert len(table) == len(found.rows) == count
    assert set(table["trial_id"]) == set(found.rows["key"])
    key = found.rows["key"].iloc[0]
    ours = found.curves[found.curves["key"] == key]
    assert ours["val_accuracy"].tolist() == histories[key]["val_accuracy"].tolist()
    del table, histories, found
    spent = alternate(
        {"ours": lambda _: automl_kd.read_results(root / "ours"), "Tune": lambda _: tune()}, rounds=rounds, warm=1
    )
    print(f"{count} trials of {EPOCHS} epochs, read")
    print(markdown(spent, [Comparison("ours", "Tune", limit=1 / 20)]))
    print(milliseconds(spent))


def rank_many(root: Path, count: int, rounds: int) -> None:
    each = count // EXPERIMENTS
    for number in range(EXPERIMENTS):
        name = f"experiment-{number:02d}"
        table = many_rows.rows(each, seeds=SEEDS, experiment=name, first=number * each // SEEDS)
        many_rows.write(root / "many" / name, table)

    def read(_: int) -> pd.DataFrame:
        return automl_kd.read_results(root / "many", LEADERBOARD_COLUMNS).rows

    rows = read(0)
    board = rank_results(rows)
    assert (len(rows), len(board)) == (each * EXPERIMENTS, each // SEEDS * EXPERIMENTS)
    assert (board["seeds"] == SEEDS).all()
    del board
    spent = alternate({"read": read, "rank": lambda _: rank_results(rows)}, rounds=rounds, warm=0)
    seconds = {name: statistics.median(times) for name, times in spent.items()}
    both = sum(seconds.values())
    print(f"{len(rows)} rows to a leaderboard: {both:.2f} s of processor time (limit {LIMIT_SECONDS:g}), {seconds}")


@dataclass
class Synced:
    """fsync with a clock."""

    sync: Callable[[int], None] = os.fsync
    seconds: float = 0.0

    def __call__(self, handle: int) -> None:
        begun = time.perf_counter()
        self.sync(handle)
        self.seconds += time.perf_counter() - begun


def append_durably(root: Path, count: int) -> None:
    """Milliseconds of an append, without what fsync took, by the clock and by the processor."""
    table, points, synced = ResultTable(root / "appended"), curve(0.9, 30), Synced()
    clock, processor, disk = [], [], []
    with patch("os.fsync", synced):
        for number in range(count):
            one = one_row(key=f"{number:016x}")
            synced.seconds, begun, spent = 0.0, time.perf_counter(), time.process_time()
            table.append(one, points)
            processor.append(time.process_time() - spent)
            clock.append(time.perf_counter() - begun - synced.seconds)
            disk.append(synced.seconds)
    told = {"clock": clock, "processor": processor, "fsync": disk}
    medians = ", ".join(f"{name} {1e3 * statistics.median(values[1:]):.2f}" for name, values in told.items())
    print(f"an append without fsync, and fsync, medians of {count - 1} in ms: {medians} (limit {LIMIT_MS:g} without)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=10_000, help="read beside Tune (default: 10000)")
    parser.add_argument("--rows", type=int, default=1_000_000, help="ranked (default: 1000000)")
    parser.add_argument("--appends", type=int, default=200, help="appended (default: 200)")
    parser.add_argument("--rounds", type=int, default=3, help="that count (default: 3)")
    options = parser.parse_known_args()[0]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        append_durably(root, options.appends)
        compare_reading(root, options.trials, options.rounds)
        rank_many(root, options.rows, options.rounds)


if __name__ == "__main__":
    main()
