"""The page's plots as inline SVG that takes its colours from the page, so that both colour schemes can read it.

matplotlib draws with placeholder colours, which are then replaced by the page's CSS variables. Text stays text.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from automl_kd.results import units
from automl_kd.results.report.leaderboard import pareto_rows
from automl_kd.results.verdict.arms import ARMS, Arm
from automl_kd.spec import FinalRole

INK, QUIET, LINE, CARD = "#010101", "#020202", "#030303", "#040404"
ROLE_STYLES: dict[FinalRole, tuple[str, str]] = {
    "default-scratch": ("#050505", "o"),
    "default-kd": ("#060606", "s"),
    "found-scratch": ("#070707", "^"),
    "found-labels": ("#0a0a0a", "P"),
    "found-fresh": ("#090909", "v"),
    "found-method": ("#080808", "D"),
}
"""Colour and marker: shapes differ too, for colour-blind readers."""

VARIABLES = {INK: "--ink", QUIET: "--quiet", LINE: "--line", CARD: "--card"} | {
    colour: f"--{role}" for role, (colour, _) in ROLE_STYLES.items()
}
LEGEND_LETTERS = 66
"""Of two labels beside each other, in the width of a figure."""

PLOT_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "automl_kd",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 11.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 10.5,
}


def accuracy_against_params(search: pd.DataFrame, arms: dict[FinalRole, Arm], teacher: pd.DataFrame) -> Markup | None:
    """Test accuracy over parameters: complete search trials, their Pareto front, the arms with their intervals.

    None if there is nothing to draw.
    """
    trials = located_rows(search)
    finals = {role: one for role, one in arms.items() if one.params}
    teacher_points = located_rows(teacher)
    if trials.empty and not finals:
        return None
    with mpl.rc_context(PLOT_SETTINGS):
        figure, axes = blank_figure("parameters", "test accuracy, %")
        axes.set_xscale("log")
        if len(trials):
            draw_search(axes, trials)
        for role, one in finals.items():
            draw_arm(axes, role, one)
        if len(teacher_points):
            axes.plot(
                teacher_points["params"], 100 * teacher_points["test_accuracy"], "*", color=INK, ms=11, label="teacher"
            )
        label_decades(axes)
        return finish_figure(figure, axes, "Test accuracy against the number of parameters, on a logarithmic scale")


def located_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Complete rows with both coordinates, as plain numbers."""
    known = rows[rows["status"] == "complete"].dropna(subset=["params", "test_accuracy"])
    return known[["params", "test_accuracy", "val_accuracy"]].astype(float)


def draw_search(axes: Axes, trials: pd.DataFrame) -> None:
    # Who is on the front is chosen on validation, like everything; how high it lies is reported on test.
    front = pareto_rows(trials, maximise=["val_accuracy"], minimise=["params"]).sort_values("params")
    label = "search trial"
    axes.plot(trials["params"], 100 * trials["test_accuracy"], "o", color=QUIET, ms=5, alpha=0.45, label=label)
    if len(trials) > 1:
        heights = 100 * front["test_accuracy"]
        label = "Pareto front of the search, on validation"
        axes.plot(front["params"], heights, color=QUIET, lw=1.3, label=label)


def draw_arm(axes: Axes, role: FinalRole, one: Arm) -> None:
    colour, marker = ROLE_STYLES[role]
    half = 0.0 if units.missing(one.test.half_width) else 100 * one.test.half_width
    axes.errorbar(
        one.params or 0.0,
        100 * one.test.mean,
        yerr=half,
        color=colour,
        marker=marker,
        ms=7.5,
        mec=CARD,
        mew=0.8,
        lw=1.6,
        capsize=3 if half else 0,
        linestyle="none",
        label=ARMS[role],
        zorder=3,
    )


def label_decades(axes: Axes) -> None:
    """Ticks at 1, 2 and 5 of each decade, and never so few that the scale cannot be read."""
    low, high = axes.get_xlim()
    if high < 4 * low:
        low, high = low / 2**0.5, high * 2**0.5
        axes.set_xlim(low, high)
    steps = (1, 2, 5) if high < 300 * low else (1,)
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=steps))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: re.sub(r"\.0+", "", units.format_count(value))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


def learning_curves(rows: pd.DataFrame, curves: pd.DataFrame, titles: Mapping[FinalRole, str] = ARMS) -> Markup | None:
    """Validation accuracy over epochs: finals coloured by role, search trials faint. None if there is nothing.

    `titles`: of the roles that are drawn.
    """
    joined = curves.merge(rows[["experiment", "trial_kind", "key", "role"]], on=["experiment", "trial_kind", "key"])
    # A comparison has too many methods to distinguish by colour: their curves are not drawn.
    joined = joined[joined["role"].isin(["search", *titles])].dropna(subset=["val_accuracy"])
    if joined.empty:
        return None
    with mpl.rc_context(PLOT_SETTINGS):
        figure, axes = blank_figure("epoch", "validation accuracy, %")
        draw_curves(axes, joined[joined["role"] == "search"], "search trial", QUIET, 0.35)
        for role, title in titles.items():
            draw_curves(axes, joined[joined["role"] == role], title, ROLE_STYLES[role][0], 0.9)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return finish_figure(figure, axes, "Validation accuracy over epochs, one line per trial")


def draw_curves(axes: Axes, curves: pd.DataFrame, label: str, colour: str, alpha: float) -> None:
    for place, (_, trial) in enumerate(curves.groupby("key", sort=True, observed=True)):
        # A trial stopped after one epoch is a point, which a line alone does not show.
        marker = "." if len(trial) == 1 else None
        axes.plot(
            trial["epoch"].to_numpy(dtype=float),
            100 * trial["val_accuracy"].to_numpy(dtype=float),
            color=colour,
            alpha=alpha,
            lw=1.2,
            marker=marker,
            label="_" if place else label,
        )


def blank_figure(across: str, up: str, height: float = 4.6) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.2, height), layout="constrained")
    figure.patch.set_alpha(0.0)
    axes = figure.add_subplot()
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    return figure, axes


def legend_columns(labels: Sequence[str]) -> int:
    """Two where the longest labels of both fit beside each other, else one."""
    first = -(-len(labels) // 2)
    widest = [max(map(len, column), default=0) for column in (labels[:first], labels[first:])]
    return 2 if sum(widest) <= LEGEND_LETTERS else 1


def finish_figure(figure: Figure, axes: Axes, title: str) -> Markup:
    """The figure as an `<svg>` element whose colours are the page's variables."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=legend_columns(labels), handletextpad=0.4)
    sink = io.StringIO()
    figure.savefig(sink, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    drawn = sink.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    for colour, variable in VARIABLES.items():
        drawn = drawn.replace(colour, f"var({variable})")
    # Our own words and matplotlib's markup; matplotlib escapes the titles of methods, the only text that is not ours.
    return Markup(drawn.replace("<svg", f'<svg role="img" aria-label="{title}"', 1))  # noqa: S704
