"""Plots of accuracy against cost: all students of the search, the limits that they kept to, the found one marked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import matplotlib as mpl
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from automl_kd.decision.candidates import JudgedExperiment, StudentCandidate
from automl_kd.results import units
from automl_kd.results.report.leaderboard import pareto_rows
from automl_kd.results.report.plots import (
    CARD,
    INK,
    PLOT_SETTINGS,
    QUIET,
    ROLE_STYLES,
    blank_figure,
    finish_figure,
    label_decades,
)

FRONT_COSTS = {"macs": "multiply-adds for one image", "params": "parameters", "latency_ms": "latency of one image, ms"}
"""Columns of rows, and their names on an axis."""

FRONT_LABELS: Mapping[str, str] = {
    "default-scratch": "default, scratch",
    "default-kd": "default, plain KD",
    "found-scratch": "found, scratch",
    "found-labels": "found, labels alone",
    "found": "found student",
}
"""Of the finals that are drawn."""

LOG_FROM = 4.0
"""A ratio of the largest cost to the smallest."""


class FrontFigure(NamedTuple):
    """`caption`: what the plot shows, and the limit."""

    drawing: Markup
    caption: str


def draw_fronts(experiment: JudgedExperiment) -> Iterator[FrontFigure]:
    """A plot for each cost that was limited; where none was, for multiply-adds and parameters."""
    budget = experiment.record.get("budget") or {}
    limits = {name: float(budget.get(name) or 0) for name in FRONT_COSTS}
    wanted = [name for name, limit in limits.items() if limit] or ["macs", "params"]
    search = experiment.rows[experiment.rows["trial_kind"] == "search"]
    search = search[search["status"] != "failed"]
    if search.empty:
        return
    for cost in wanted:
        known = search.dropna(subset=[cost, "val_accuracy"])
        marked = [("found" if one is experiment.found else str(one.kind), one) for one in experiment.candidates]
        finals = {mark: one for mark, one in marked if mark in FRONT_LABELS and cost_of_candidate(one, cost)}
        if len(known) or finals:
            yield FrontFigure(plot_front(known, finals, cost, limits[cost]), describe_front(known, search, cost))


def cost_of_candidate(one: StudentCandidate, cost: str) -> float | None:
    return {"macs": one.macs, "params": one.params, "latency_ms": one.latency_ms}[cost]


def plot_front(trials: pd.DataFrame, finals: Mapping[str, StudentCandidate], cost: str, limit: float) -> Markup:
    """Validation accuracy over `cost`. `limit`: a vertical line; 0 for none."""
    with mpl.rc_context(PLOT_SETTINGS):
        figure, axes = blank_figure(FRONT_COSTS[cost], "validation accuracy, %")
        draw_searched(axes, trials, cost)
        for mark, one in finals.items():
            draw_candidate(axes, one, cost, mark)
        if limit:
            axes.axvline(limit, color=INK, lw=1.2, ls=(0, (4, 3)), label="budget")
        if cost != "latency_ms":
            scale_counts(axes)
        return finish_figure(figure, axes, f"Validation accuracy against {FRONT_COSTS[cost]}")


def scale_counts(axes: Axes) -> None:
    """A logarithmic axis where what is drawn spans more than `LOG_FROM`."""
    low, high = axes.get_xlim()
    if low <= 0 or high > LOG_FROM * low:
        axes.set_xscale("log")
        label_decades(axes)
        return
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: units.format_count(value)))


def draw_searched(axes: Axes, trials: pd.DataFrame, cost: str) -> None:
    """Complete trials as dots with their front, stopped ones hollow: their accuracy is that of an early epoch."""
    complete = trials["status"] == "complete"
    for chosen, face, label in ((complete, QUIET, "search, complete"), (~complete, "none", "search, stopped early")):
        ours = trials[chosen]
        if len(ours):
            heights = 100 * ours["val_accuracy"].astype(float)
            axes.plot(ours[cost].astype(float), heights, "o", color=QUIET, mfc=face, ms=5, alpha=0.7, label=label)
    points = trials[complete][[cost, "val_accuracy"]].astype(float)
    if len(points) > 1:
        front = pareto_rows(points, maximise=["val_accuracy"], minimise=[cost]).sort_values(cost)
        axes.plot(front[cost], 100 * front["val_accuracy"], color=QUIET, lw=1.3, label="front")


def draw_candidate(axes: Axes, one: StudentCandidate, cost: str, mark: str) -> None:
    found = mark == "found"
    colour, marker = next(style for role, style in ROLE_STYLES.items() if role == ("found-method" if found else mark))
    axes.plot(
        [cost_of_candidate(one, cost) or 0.0],
        [100 * one.val],
        marker,
        color=colour,
        ms=11 if found else 7.5,
        mec=INK if found else CARD,
        mew=1.2 if found else 0.8,
        label=FRONT_LABELS[mark],
        zorder=4 if found else 3,
    )


def describe_front(known: pd.DataFrame, search: pd.DataFrame, cost: str) -> str:
    text = f"{len(known)} students of the search"
    if missing := len(search) - len(known):
        text += f" ({missing} more have no {FRONT_COSTS[cost].partition(' of')[0]} measured)"
    return f"{text}; the front is that of the complete ones. Finals are means over seeds, mostly of longer trainings."
