"""Searches of a table for people: regrets, searches without training and their costs, fronts, as sheets and Markdown.

Regret is in percentage points of test accuracy, as median and 10–90 % band over seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from automl_kd.nasbench.table_search.record import Record
from automl_kd.nasbench.table_search.regret import bands
from automl_kd.results import units
from automl_kd.results.report.leaderboard import made_by
from automl_kd.results.sheet import Column, Sheet
from automl_kd.results.statistics.interval import Estimate, estimate_mean

TEST_REGRET_NOTE = (
    "Regret on test, in percentage points, after so many trainings and at so many simulated hours: median over {seeds} "
    "and 10–90 % band. Best first, by mean regret after {mark} trainings, shown with its 95 % interval. A training of "
    "either length is one; what is known already is not trained again. Hours come from the table's training times of "
    "one seed on the benchmark authors' GPU. A dash: the search had not begun to answer, or was over, for one seed or "
    "more. The kind nsga2 minimises multiply-adds besides."
)
TRAINING_FREE_NOTE = (
    "Scores led the evolution; then the best by score were trained and compared by the accuracy to choose by. Medians "
    "over seeds, 10–90 % bands. Scoring: as many distinct architectures as were scored, at the recorded time of a "
    "score, on the machine that computed it. Ratios: training time of the evolution that trains what it asks about, "
    "over the scoring alone, and over scoring and final trainings together. As good after: the simulated time at which "
    "half of the training evolutions had a regret as low as the score's median. The last ratio is bounded by how many "
    "trainings the two need, however cheap a score is."
)
FRONT_NOTE = (
    "Share of the area that the space's best front dominates, medians and 10–90 % bands over seeds. Fronts are chosen "
    "by the accuracy to choose by and measured by test accuracy. The area lies between the reference point below and "
    "the best accuracy at no latency."
)


def task_rows(record: Record, task: Mapping[str, Any]) -> pd.DataFrame:
    rows: pd.DataFrame = record.searches[record.searches["task"] == task["name"]]
    return rows


def compared_marks(record: Record, task: Mapping[str, Any]) -> dict[float, int]:
    """The numbers of trainings at which searches are compared, ascending, and how many searches came so far.

    Where no search came to one that was asked for, it is the last one to which most of them came.
    """
    rows = task_rows(record, task)
    reached = rows[rows["axis"] == "queries"].groupby("at", observed=True)["search"].nunique()
    asked = reached[reached.index.isin(record.facts["compare"])]
    found = asked if len(asked) else reached[reached == reached.max()].tail(1)
    return dict(zip(found.index.to_numpy(dtype=float).tolist(), found.tolist(), strict=True))


def common_mark(record: Record, task: Mapping[str, Any]) -> float:
    """The largest number of trainings at which all searches are compared; the smallest if there is none."""
    marks, searches = compared_marks(record, task), task_rows(record, task)["search"].nunique()
    return max([mark for mark, count in marks.items() if count == searches], default=min(marks))


def regrets_at(record: Record, task: Mapping[str, Any], axis: str, at: float) -> dict[str, pd.Series]:
    """By search, each seed's regret at a mark, by seed."""
    rows = task_rows(record, task)
    ours = rows[(rows["axis"] == axis) & np.isclose(rows["at"], at)]
    return {
        str(name): group.set_index("seed")["regret"]
        for name, group in ours.groupby("search", sort=False, observed=True)
    }


def task_regret_sheet(record: Record, task: Mapping[str, Any]) -> Sheet:
    """One line for each search of a task."""
    mark = common_mark(record, task)
    rows = task_rows(record, task)
    found = {
        (str(one["search"]), one["axis"], round(one["at"], 6)): one
        for one in bands(rows, by=("search", "axis", "at")).to_dict("records")
    }
    compare, hours = list(compared_marks(record, task)), task["hours"]
    means = {name: estimate_mean(series) for name, series in regrets_at(record, task, "queries", mark).items()}
    order = sorted(rows["search"].unique(), key=lambda name: means[name].mean if name in means else np.inf)
    lines = []
    for name in order:
        after = [band(found.get((name, "queries", one))) for one in compare]
        timed = [band(found.get((name, "hours", float(one)))) for one in hours]
        lines.append((name, *after, interval(means.get(name)), *timed))
    heads = [
        *(f"after {one:g}" for one in compare),
        f"mean after {mark:g}",
        *(f"at {one:g} h" for one in hours),
    ]
    return Sheet((Column("search"), *(Column(head, numeric=True) for head in heads)), tuple(lines))


def task_note(record: Record, task: Mapping[str, Any]) -> str:
    """How to read the sheet of a task."""
    counts = task_rows(record, task).groupby("search", observed=True)["seed"].nunique()
    seeds = units.some(int(counts.max()), "seed") + (
        f" ({counts.min()} of some)" if counts.min() < counts.max() else ""
    )
    return TEST_REGRET_NOTE.format(mark=f"{common_mark(record, task):g}", seeds=seeds)


def band(one: Mapping[Any, Any] | None) -> str:
    """Median and band of regrets, in points."""
    if one is None or units.missing(one["middle"]):
        return units.MISSING
    return f"{100 * one['middle']:.2f} ({100 * one['low']:.2f}–{100 * one['high']:.2f})"


def interval(one: Estimate | None) -> str:
    return units.MISSING if one is None else units.percent_interval(one.mean, one.half_width)


def training_free_sheet(record: Record, task: Mapping[str, Any]) -> Sheet:
    """One line for each score, after the evolution by training."""
    ours = record.training_free[record.training_free["task"] == task["name"]]
    names = ("led by", "test, %", "regret", "scored", "scoring", "trained", "training")
    ratios = ("ratio, scoring", "ratio, all", "as good after")
    reference = float(ours.loc[ours["search"] == "", "train_seconds"].median())
    lines = []
    for name, group in ours.groupby("search", sort=False, observed=True):
        accuracy, lost = median_and_deciles(group, "test_accuracy"), median_and_deciles(group, "regret")
        scoring, training = float(group["score_seconds"].median()), float(group["train_seconds"].median())
        lines.append(
            (
                str(name) or "training",
                f"{100 * accuracy[1]:.2f} ({100 * accuracy[0]:.2f}–{100 * accuracy[2]:.2f})",
                f"{100 * lost[1]:.2f}",
                *scored(group),
                f"{group['trained'].median():.0f}",
                units.duration(training),
                cost_ratio(reference, scoring) if name else units.MISSING,
                cost_ratio(reference, scoring + training) if name else units.MISSING,
                as_good(task, str(name)) if name else units.MISSING,
            )
        )
    return Sheet(tuple(Column(name, numeric=name != "led by") for name in (*names, *ratios)), tuple(lines))


def scored(group: pd.DataFrame) -> tuple[str, str]:
    """How many were scored and how long that took; dashes where nothing was."""
    count = float(group["scored"].median())
    if not count:
        return units.MISSING, units.MISSING
    return f"{count:.0f}", units.duration(float(group["score_seconds"].median()))


def median_and_deciles(group: pd.DataFrame, column: str) -> tuple[float, float, float]:
    low, median, high = group[column].quantile([0.1, 0.5, 0.9])
    return float(low), float(median), float(high)


def cost_ratio(reference: float, cost: float) -> str:
    """A dash where the cost is not on record or nothing."""
    return units.MISSING if units.missing(cost) or cost <= 0 else units.times(reference / cost)


def as_good(task: Mapping[str, Any], name: str) -> str:
    seconds = task["reached"].get(name)
    return "not within the budget" if seconds is None else units.duration(seconds)


def front_sheet(record: Record) -> Sheet:
    """One line for each device and search, at a few numbers of trainings."""
    last = float(record.fronts["at"].max())
    marks = [mark for mark in (*record.facts["compare"], last) if mark in set(record.fronts["at"])]
    marks = list(dict.fromkeys(float(mark) for mark in marks))
    found = bands(record.fronts, "hypervolume", by=("device", "search", "at"))
    places = {(one["device"], one["search"], one["at"]): one for one in found.to_dict("records")}
    lines = []
    for (device, name), _ in record.fronts.groupby(["device", "search"], sort=False, observed=True):
        at = [places[device, name, mark] for mark in marks]
        lines.append((str(device), str(name), *(f"{x['middle']:.3f} ({x['low']:.3f}–{x['high']:.3f})" for x in at)))
    heads = (Column(f"after {mark:g}", numeric=True) for mark in marks)
    return Sheet((Column("device"), Column("search"), *heads), tuple(lines))


def device_sheet(record: Record) -> Sheet:
    lines = [
        (
            one["name"],
            f"{100 * one['accuracy']:.2f}",
            f"{one['latency']:.4g}",
            f"{one['area']:.3f}",
            str(one["absent"]),
        )
        for one in record.facts["devices"]
    ]
    heads = ("reference accuracy, %", "reference latency, ms", "area of the best front", "do not run")
    return Sheet((Column("device"), *(Column(head, numeric=True) for head in heads)), tuple(lines))


def score_sheet(record: Record) -> Sheet:
    """Where the scores came from."""
    lines = [
        (
            task["name"],
            one["name"],
            one["source"],
            "not recorded" if one["seconds"] is None else f"{one['seconds']:.3g} s",
            str(one["missing"]),
        )
        for task in record.facts["tasks"]
        for one in task["scores"]
    ]
    heads = (Column("task"), Column("score"), Column("source"), Column("a score", True), Column("without one", True))
    return Sheet(heads, tuple(lines))


def tabular_markdown(record: Record, sentences: list[str], command: str) -> str:
    """All of it as one text."""
    blocks = [*([made_by(command)] if command else []), *sentences]
    for task in record.facts["tasks"]:
        if len(task_rows(record, task)):
            blocks += [f"## {task['name']}", statement(task), task_note(record, task)]
            blocks += [task_regret_sheet(record, task).to_markdown()]
    if len(record.training_free):
        blocks += ["## Training-free searches", TRAINING_FREE_NOTE]
        for task in record.facts["tasks"]:
            blocks += [f"### {task['name']}", training_free_sheet(record, task).to_markdown()]
    if len(record.fronts):
        blocks += ["## Accuracy against latency", FRONT_NOTE, front_sheet(record).to_markdown()]
        blocks += [device_sheet(record).to_markdown()]
    if any(task["scores"] for task in record.facts["tasks"]):
        blocks += ["## Scores", score_sheet(record).to_markdown()]
    made = [f"- {name}: {text}" for name, text in record.facts["provenance"].items()]
    return "\n\n".join([*blocks, "## Reproducibility", "\n".join(made)]) + "\n"


def statement(task: Mapping[str, Any]) -> str:
    """What was chosen by and reported on, and what that alone costs."""
    early = f" Short trainings are judged by {task['early']}." if task["early"] else ""
    left = f" Left out, for want of a short training: {'; '.join(task['left_out'])}." if task["left_out"] else ""
    lost = 100 * (task["best"] - task["best_chosen"])
    return (
        f"{task['statement']}{early}{left} The best test accuracy of the space is {units.percent(task['best'])} %; who "
        f"knew every accuracy to choose by would take an architecture with a regret of {lost:.2f} points."
    )
