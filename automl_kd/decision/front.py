"""Plots of accuracy against cost: all students of the search, the limits that they kept to, the found one marked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import matplotlib as mpl
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes

from automl_kd.decision.candidates import Candidate, JudgedExperiment
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

COSTS = {"macs": "multiply-adds for one image", "params": "parameters", "latency_ms": "latency of one image, ms"}
"""Columns of rows, and their names on an axis."""

LABELS: Mapping[str, str] = {
    "default-scratch": "default, scratch",
    "default-kd": "default, plain KD",
    "found-scratch": "found, scratch",
    "found": "found student",
}
"""Of the finals that are drawn."""


class FrontFigure(NamedTuple):
    """`caption`: what the plot shows, and the limit."""

    drawing: Markup
    caption: str


def draw_fronts(experiment: JudgedExperiment) -> Iterator[FrontFigure]:
    """A plot for each cost that was limited; where none was, for multiply-adds and parameters."""
    budget = experiment.record.get("budget") or {}
    limits = {name: float(budget.get(name) or 0) for name in COSTS}
    wanted = [name for name, limit in limits.items() if limit] or ["macs", "params"]
    search = experiment.rows[experiment.rows["trial_kind"] == "search"]
    search = search[search["status"] != "failed"]
    if search.empty:
        return
    for cost in wanted:
        known = search.dropna(subset=[cost, "val_accuracy"])
        marked = [("found" if one is experiment.found else str(one.kind), one) for one in experiment.candidates]
        finals = {mark: one for mark, one in marked if mark in LABELS and cost_of_candidate(one, cost)}
        if len(known) or finals:
            yield FrontFigure(draw_front(known, finals, cost, limits[cost]), describe_front(known, search, cost))


def cost_of_candidate(one: Candidate, cost: str) -> float | None:
    return {"macs": one.macs, "params": one.params, "latency_ms": one.latency_ms}[cost]


def draw_front(trials: pd.DataFrame, finals: Mapping[str, Candidate], cost: str, limit: float) -> Markup:
    """Validation accuracy over `cost`. `limit`: a vertical line; 0 for none."""
    with mpl.rc_context(PLOT_SETTINGS):
        figure, axes = blank_figure(COSTS[cost], "validation accuracy, %")
        counted = cost != "latency_ms"
        if counted:
            axes.set_xscale("log")
        draw_searched(axes, trials, cost)
        for mark, one in finals.items():
            draw_candidate(axes, one, cost, mark)
        if limit:
            axes.axvline(limit, color=INK, lw=1.2, ls=(0, (4, 3)), label="budget")
        if counted:
            label_decades(axes)
        scale = ", on a logarithmic scale" if counted else ""
        return finish_figure(figure, axes, f"Validation accuracy against {COSTS[cost]}{scale}")


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


def draw_candidate(axes: Axes, one: Candidate, cost: str, mark: str) -> None:
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
        label=LABELS[mark],
        zorder=4 if found else 3,
    )


def describe_front(known: pd.DataFrame, search: pd.DataFrame, cost: str) -> str:
    text = f"{len(known)} students of the search"
    if missing := len(search) - len(known):
        text += f" ({missing} more have no {COSTS[cost].partition(' of')[0]} measured)"
    return f"{text}; the front is that of the complete ones. Finals are means over seeds, mostly of longer trainings."
