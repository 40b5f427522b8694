"""The plots of searches of a table: regret over trainings and simulated time, and hypervolume over trainings.

As in `plots`: inline SVG with the page's colours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from automl_kd.nasbench.table_search.record import Record
from automl_kd.nasbench.table_search.regret import bands
from automl_kd.nasbench.table_search.sheets import task_rows
from automl_kd.results.report.plots import PLOT_SETTINGS, QUIET, ROLE_STYLES, blank_figure, finish_figure

LineStyle = tuple[str, str]
LINE_STYLES: list[LineStyle] = [
    (colour, dash) for dash in ("-", "--", ":") for colour, _ in reversed(ROLE_STYLES.values())
]
"""Colour and dash."""

REGRET_TICKS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
LITERAL_TEXT = {"text.parse_math": False}
AXES = {"queries": "trainings", "hours": "simulated hours"}


def overview(record: Record, task: Mapping[str, Any], axis: str) -> Markup | None:
    """Median regret of the searches without proxies; None if there are none."""
    names = [run["search"] for run in record.facts["runs"] if not run["aid"]]
    rows = curves(record, task, axis, names)
    if rows.empty:
        return None
    with mpl.rc_context(PLOT_SETTINGS | LITERAL_TEXT):
        figure, axes = blank_figure(AXES[axis], "regret on test, points")
        found = set(rows["search"])
        for look, name in zip(LINE_STYLES, [name for name in names if name in found], strict=False):
            draw_curve(axes, rows[rows["search"] == name], look, name, shaded=False)
        scale([axes], task)
        return finish_figure(figure, axes, f"Median regret over {AXES[axis]}")


def aided(record: Record, task: Mapping[str, Any], axis: str) -> Markup | None:
    """Runs of each sampler with and without proxies, with bands; None if no run has proxies."""
    searched = set(task_rows(record, task)["search"].unique())
    runs = [run for run in record.facts["runs"] if run["search"] in searched]
    kinds = list(dict.fromkeys(run["kind"] for run in runs))
    aids = list(dict.fromkeys(["", *(run["aid"] for run in runs)]))
    if len(aids) == 1:
        return None
    looks = dict(zip(aids, LINE_STYLES, strict=False))
    with mpl.rc_context(PLOT_SETTINGS | LITERAL_TEXT):
        figure, several = panels(kinds, AXES[axis], "regret on test, points")
        for axes, kind in zip(several, kinds, strict=True):
            for run in (one for one in runs if one["kind"] == kind and one["aid"] in looks):
                draw_curve(axes, curves(record, task, axis, [run["search"]]), looks[run["aid"]], "_")
        scale(several, task)
        for aid, (colour, dash) in looks.items():
            several[0].plot([], [], dash, color=colour, lw=1.6, label=aid or "alone")
        return finish_figure(figure, several[0], f"Regret over {AXES[axis]} with and without proxies, for each sampler")


def hypervolumes(record: Record) -> Markup | None:
    """Hypervolume over trials, a subplot per device."""
    if record.fronts.empty:
        return None
    devices, names = (list(record.fronts[column].unique()) for column in ("device", "search"))
    found = bands(record.fronts, "hypervolume", by=("device", "search", "at"))
    with mpl.rc_context(PLOT_SETTINGS | LITERAL_TEXT):
        figure, several = panels(devices, "trainings", "share of the best area")
        for axes, device in zip(several, devices, strict=True):
            for look, name in zip(LINE_STYLES, names, strict=False):
                ours = found[(found["device"] == device) & (found["search"] == name)]
                draw_curve(axes, ours, look, name if axes is several[0] else "_")
            axes.set_xscale("log")
            axes.set_ylim(0, 1)
            plain_ticks(axes)
        return finish_figure(figure, several[0], "Hypervolume over trainings for each device")


def curves(record: Record, task: Mapping[str, Any], axis: str, names: Sequence[str]) -> pd.DataFrame:
    """Bands in points, by search and mark."""
    rows = task_rows(record, task)
    found = bands(rows[(rows["axis"] == axis) & rows["search"].isin(names)], by=("search", "at")).dropna()
    return found.assign(**{column: 100 * found[column] for column in ("low", "middle", "high")})


def draw_curve(axes: Axes, rows: pd.DataFrame, look: LineStyle, label: str, *, shaded: bool = True) -> None:
    colour, dash = look
    ordered = rows.sort_values("at")
    at = ordered["at"].to_numpy(dtype=float)
    low, middle, high = (ordered[column].to_numpy(dtype=float) for column in ("low", "middle", "high"))
    if shaded:
        axes.fill_between(at, low, high, color=colour, alpha=0.13, lw=0)
    axes.plot(at, middle, dash, color=colour, lw=1.6, label=label)


def panels(titles: Sequence[str], across: str, up: str) -> tuple[Figure, list[Axes]]:
    """Equal axes for each title, four in a row."""
    rows = -(-len(titles) // 4)
    columns = min(len(titles), 4)
    figure = Figure(figsize=(12.4, 0.9 + 2.5 * rows), layout="constrained")
    figure.patch.set_alpha(0.0)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    flat = [axes for line in grid for axes in line]
    for axes, title in zip(flat, titles, strict=False):
        axes.set_title(title, fontsize=11.5)
    for axes in flat[len(titles) :]:
        axes.set_axis_off()
    figure.supxlabel(across, fontsize=11.5)
    figure.supylabel(up, fontsize=11.5)
    return figure, flat[: len(titles)]


def scale(several: Sequence[Axes], task: Mapping[str, Any]) -> None:
    """Logarithmic, but linear below the least level, since regret may be 0; a line at what full knowledge leaves.

    As high as the lines go; bands may be cut off.
    """
    lines = [np.asarray(line.get_ydata(), dtype=float) for axes in several for line in axes.lines]
    tops = [float(heights.max()) for heights in lines if len(heights)]
    for axes in several:
        axes.set_xscale("log")
        axes.set_yscale("symlog", linthresh=REGRET_TICKS[0], linscale=0.5)
        axes.set_ylim(0, min(1.2 * max(tops, default=1.0), REGRET_TICKS[-1]))
        axes.yaxis.set_major_locator(FixedLocator([0.0, *REGRET_TICKS]))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.axhline(100 * (task["best"] - task["best_chosen"]), color=QUIET, lw=0.9, dashes=(4, 3))
        plain_ticks(axes)


def plain_ticks(axes: Axes) -> None:
    """1, 3, 10, 30 in place of powers of ten."""
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 3)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}" if np.isfinite(value) else ""))
