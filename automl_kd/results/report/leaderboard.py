"""Rankings computed from rows: selected on validation, reported on test, averaged over seeds. Pure functions.

An entry is one student trained by one method; its trials differ only in their seed. Entries are ranked by their mean
validation accuracy, and only against entries of the same kind of trial and dataset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from automl_kd.results import units
from automl_kd.results.sheet import Column, Sheet
from automl_kd.results.statistics import grouped
from automl_kd.results.statistics.grouped import Places, join_words
from automl_kd.results.verdict.arms import ARMS

BY = (
    "trial_kind",
    "dataset",
    "metric",
    "space",
    "architecture_id",
    "student",
    "method",
    "options_json",
    "schedule_json",
    "init",
    "teacher",
    "epochs",
    "last_epoch",
    "config_hash",
)
"""What trials of one entry have in common."""

ROLE_NAMES: dict[str, str] = {str(role): name for role, name in ARMS.items()}
RANKED_WITHIN = ("trial_kind", "dataset", "metric")
AVERAGED_COLUMNS = ("int8_val_accuracy", "latency_ms", "seconds", "train_macs")
FIRST_COLUMNS = ("params", "macs", "latency_device")
"""Equal in all trials of an entry."""

UNRANKED_STATUSES = ("stopped", "failed")
MEASURES = (
    *("role", "seeds", "val_mean", "mean", "std", "half_width", "params", "macs"),
    *AVERAGED_COLUMNS,
    "latency_device",
    *UNRANKED_STATUSES,
)
LEADERBOARD_COLUMNS = (
    *BY,
    *("role", "key", "status", "params", "macs", *AVERAGED_COLUMNS, "latency_device"),
    *("val_accuracy", "test_accuracy", "val_accuracy_best", "test_accuracy_best"),
)
"""The columns of rows from which a leaderboard is computed."""


def rank_results(rows: pd.DataFrame, by: Sequence[str] = BY, metric: str = "test_accuracy") -> pd.DataFrame:
    """One line per entry with at least one complete trial, best first.

    `metric` (`test_accuracy`, or `test_accuracy_best` of the epoch best on validation) is reported as `mean`, `std` and
    `half_width` of its 95 % interval over `seeds` trials; the validation accuracy of the same epoch, `val_mean`, ranks.
    `rank` is 1 for the best of its `trial_kind`, dataset and metric; entries with equal `val_mean` share it and have
    `tie` set. `int8_val_accuracy`, `latency_ms`, `seconds` and `train_macs` are means per trial that has one; `stopped`
    and `failed` count trials that are left out.
    A trial that appears twice under one key counts once, and one of a stand-in not at all.
    """
    rows = rows[~rows["stand_in"].fillna(False)] if "stand_in" in rows else rows
    rows = rows.assign(last_epoch=rows["last_epoch"].fillna(1.0)) if "last_epoch" in by else rows
    rows = rows.assign(metric=rows["metric"].fillna("accuracy")) if "metric" in by else rows  # of earlier versions
    if rows["config_hash"].isna().any():
        rows = rows.assign(config_hash=rows["config_hash"].fillna(""))  # without a spec
    number = rows.groupby(list(by), dropna=False, observed=True, sort=False).ngroup().to_numpy()
    entries = np.unique(number[(rows["status"] == "complete").to_numpy()])
    places = np.full(len(rows) + 1, -1)
    places[entries] = np.arange(len(entries))
    places = places[number]
    first = np.unique(number, return_index=True)[1][entries]
    names = {name: rows[name].iloc[first].tolist() for name in by}
    found = {**names, **leaderboard_columns(rows, places, len(entries), metric)} if len(entries) else {}
    board = pd.DataFrame(found, columns=[*by, *MEASURES])
    within = [name for name in RANKED_WITHIN if name in by]
    return with_ranks(board, within, list(by))


def leaderboard_columns(rows: pd.DataFrame, places: Places, count: int, metric: str) -> dict[str, object]:
    """The columns `MEASURES` of `count` entries; `places`: which of them each row belongs to, -1 for none."""
    complete = (rows["status"] == "complete").to_numpy()
    rows = rows if "latency_device" in rows else rows.assign(latency_device=None)
    means = {"val_mean": metric.replace("test_", "val_"), **{name: name for name in AVERAGED_COLUMNS}}
    trials = rows.loc[complete, list(dict.fromkeys(["key", "role", *FIRST_COLUMNS, metric, *means.values()]))]
    roles = join_words(trials["role"], places[complete])
    trials = trials.assign(place=places[complete]).drop_duplicates(["place", "key"]).sort_values("place", kind="stable")
    owner = trials["place"].to_numpy()
    first = trials.groupby(owner, observed=True)[list(FIRST_COLUMNS)].first()
    reals = {name: trials[name].to_numpy(dtype=float) for name in {metric, *means.values()}}
    ended = {name: places[(rows["status"] == name).to_numpy() & (places >= 0)] for name in UNRANKED_STATUSES}
    return {
        "role": roles,
        "seeds": np.bincount(owner, minlength=count),
        **{name: grouped.means(reals[column], owner, count) for name, column in means.items()},
        **grouped.estimates(reals[metric], owner, count),
        **{name: first[name].to_numpy() for name in FIRST_COLUMNS},
        **{name: np.bincount(those, minlength=count) for name, those in ended.items()},
    }


def with_ranks(board: pd.DataFrame, within: list[str], by: list[str]) -> pd.DataFrame:
    # Means of the same numbers in another order differ in their last bits.
    score = board["val_mean"].astype(float).round(12)
    places = [board[name].astype(str) for name in within] or [pd.Series("", index=board.index)]
    rank = score.groupby(places, observed=True).rank(method="min", ascending=False)
    tie = rank.notna() & rank.groupby([*places, rank], observed=True).transform("size").gt(1)
    ranked = board.assign(rank=rank.astype("Int64"), tie=tie.astype(bool))
    for name in ("params", "macs", "epochs", "seeds", "stopped", "failed"):
        if name in ranked.columns:
            ranked[name] = ranked[name].astype("Int64")
    ranked = ranked.sort_values([*within, "rank", *(name for name in by if name not in within)], ignore_index=True)
    return ranked[["rank", "tie", *by, *MEASURES]]


def pareto_rows(rows: pd.DataFrame, maximise: Sequence[str], minimise: Sequence[str]) -> pd.DataFrame:
    """The rows that no other row beats: as good in every column and better in one. Their order is kept.

    Rows that lack one of the values are left out; equal rows are kept together.
    """
    known = rows.dropna(subset=[*maximise, *minimise])
    gains = [known[name].to_numpy(dtype=float) for name in maximise]
    costs = [-known[name].to_numpy(dtype=float) for name in minimise]
    values = np.stack([*gains, *costs], axis=1)
    beaten = [bool(((values >= one).all(axis=1) & (values > one).any(axis=1)).any()) for one in values]
    return known[~np.array(beaten, dtype=bool)]


def list_failures(rows: pd.DataFrame) -> list[str]:
    """One line for each failed trial: what it was and why it failed."""
    failed = rows[rows["status"] == "failed"]
    return [failure(row) for row in failed.to_dict("records")]


FAILURE_WORDS: Mapping[str, str] = {
    "diverged": "diverged, ",
    "memory": "out of memory, ",
    "data": "images or labels, ",
    "timeout": "too long, ",
    "storage": "storage or network, ",
    "died": "died, ",
    "other": "",
}
"""The words for a failure kind, before its error."""


def failure(row: dict[Any, Any]) -> str:
    trial = row["trial_kind"] if units.missing(row["proposal"]) else f"{row['trial_kind']} trial {row['proposal']}"
    reached = "" if units.missing(row["epochs_done"]) else f" after {units.some(row['epochs_done'], 'epoch')}"
    reason = "no reason was recorded" if units.missing(row["error"]) else " ".join(row["error"].split())
    kind = "" if units.missing(row["failure_kind"]) else FAILURE_WORDS[row["failure_kind"]]
    return f"{trial} ({row['student']}, {row['method']}, seed {row['seed']}, key {row['key']}){reached}: {kind}{reason}"


COLUMNS = {
    "rank": Column("rank", numeric=True),
    "dataset": Column("dataset"),
    "metric": Column("metric"),
    "space": Column("space"),
    "role": Column("role"),
    "student": Column("student"),
    "validation": Column("validation, %", numeric=True),
    "int8": Column("validation in int8, %", numeric=True),
    "test": Column("test, %", numeric=True),
    "seeds": Column("seeds", numeric=True),
    "params": Column("params", numeric=True),
    "macs": Column("MACs", numeric=True),
    "latency": Column("latency, ms", numeric=True),
    "epochs": Column("epochs", numeric=True),
    "method": Column("method"),
    "config_hash": Column("config"),
    "seconds": Column("training", numeric=True),
    "train_macs": Column("training MACs", numeric=True),
    "lost": Column("stopped or failed", numeric=True),
}


def to_sheet(board: pd.DataFrame) -> Sheet:
    """A board from the default `by`, for people, without columns that hold no information."""
    names = [name for name in COLUMNS if name not in silent_columns(board)]
    lines = [leaderboard_line(entry) for entry in board.to_dict("records")]
    columns = {**COLUMNS, "latency": latency_column(board)}
    return Sheet(tuple(columns[name] for name in names), tuple(tuple(one[name] for name in names) for one in lines))


def latency_column(board: pd.DataFrame) -> Column:
    """Names the device that latencies are predicted for, where it is one for all; each trial's own otherwise."""
    devices = board.loc[board["latency_ms"].notna(), "latency_device"]
    if devices.notna().any():
        named = " and ".join(dict.fromkeys(devices.fillna("the trial's device")))
        return Column(f"latency, ms ({named})", numeric=True)
    return COLUMNS["latency"]


def silent_columns(board: pd.DataFrame) -> set[str]:
    """Columns with one value throughout, or none, and `config_hash` unless two lines look the same without it."""
    same = {name for name in ("dataset", "metric", "space", "role") if board[name].nunique() <= 1}
    looks = board[[name for name in BY if name != "config_hash"]]
    empty = {
        "config_hash": not looks.duplicated().any(),
        "int8": board["int8_val_accuracy"].isna().all(),
        "latency": board["latency_ms"].isna().all(),
        "lost": (board["stopped"] + board["failed"]).eq(0).all(),
    }
    return same | {name for name, silent in empty.items() if silent}


def leaderboard_line(entry: dict[Any, Any]) -> dict[str, str]:
    scheduled = "" if units.missing(entry["schedule_json"]) else str(entry["schedule_json"])
    chosen = "; ".join(filter(None, (units.options(entry["options_json"]), units.schedule(scheduled))))
    begun = units.beginning(entry["init"])
    return {
        "rank": units.MISSING if units.missing(entry["rank"]) else f"{entry['rank']}{' =' if entry['tie'] else ''}",
        "dataset": entry["dataset"],
        "metric": units.METRICS.get(entry["metric"], entry["metric"]),
        "space": entry["space"],
        "role": ", ".join(ROLE_NAMES.get(role, role) for role in entry["role"].split(", ")),
        "student": entry["student"],
        "method": (f"{entry['method']} ({chosen})" if chosen else entry["method"]) + begun,
        "config_hash": entry["config_hash"],
        "seeds": str(entry["seeds"]),
        "validation": units.percent(entry["val_mean"]),
        "int8": units.percent(entry["int8_val_accuracy"]),
        "test": units.percent_interval(entry["mean"], entry["half_width"]),
        "params": units.format_count(entry["params"]),
        "macs": units.format_count(entry["macs"]),
        "latency": units.milliseconds(entry["latency_ms"]),
        "epochs": units.epochs(entry["epochs"], entry["last_epoch"]),
        "seconds": units.duration(entry["seconds"]),
        "train_macs": units.format_count(entry["train_macs"]),
        "lost": str(entry["stopped"] + entry["failed"]),
    }


NOTE = (
    "Ranked by mean validation accuracy; test accuracy is only reported, with its 95 % interval over seeds. "
    "Entries of equal rank are marked =. Training costs are means per trial."
)


def leaderboard_markdown(board: pd.DataFrame, command: str = "") -> str:
    """The board as Markdown; its first line is the command that made it. One table per kind of trial."""
    parts = [made_by(command)] if command else []
    for trial_kind, part in board.groupby("trial_kind", observed=True):
        parts.append(f"## Trial kind: {trial_kind}\n\n{to_sheet(part).to_markdown()}")
    return "\n".join([*parts, NOTE, ""])


def made_by(command: str) -> str:
    """The command that made a file, as a comment in Markdown."""
    return f"<!-- made by: {command.replace('--', '- -')} -->"
