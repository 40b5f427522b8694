"""The plots of the proxy benchmark: correlations, costs of scores, and accuracy over each score's rank.

As in `plots`: inline SVG with the page's colours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from automl_kd.nasbench.proxy_benchmark.benchmark import (
    BASELINE,
    BEATS,
    NOT_SHOWN,
    THE_BASELINE,
    WORSE,
    Target,
    common_rows,
)
from automl_kd.nasbench.proxy_benchmark.rank_correlation import rank_values
from automl_kd.nasbench.proxy_benchmark.scores import ProxyScores, Reals
from automl_kd.results.report.plots import CARD, INK, PLOT_SETTINGS, QUIET, ROLE_STYLES, blank_figure, finish_figure

VERDICT_MARKERS = {
    THE_BASELINE: (INK, "D"),
    BEATS: (ROLE_STYLES["found-method"][0], "^"),
    NOT_SHOWN: (QUIET, "o"),
    WORSE: (ROLE_STYLES["default-kd"][0], "v"),
}
"""Colour and marker: shapes differ too, for colour-blind readers."""

MAX_POINTS_SHOWN = 250
"""Architectures drawn in a scatter plot, the same for all proxies."""

PLAIN_TEXT = {"text.parse_math": False}


def plot_correlations(rows: pd.DataFrame) -> Markup:
    """Kendall with its interval, a subplot per target and a line per proxy, best mean on top.

    `rows`: of the benchmark, with titles. A vertical line marks the parameter count.
    """
    order = list(rows.groupby("title", observed=True)["kendall"].mean().sort_values(na_position="first").index)
    targets = list(rows["target"].unique())
    with mpl.rc_context(PLOT_SETTINGS | PLAIN_TEXT):
        figure = Figure(figsize=(12.4, 1.5 + 0.27 * len(order)), layout="constrained")
        figure.patch.set_alpha(0.0)
        several = figure.subplots(1, len(targets), sharey=True, squeeze=False)[0]
        for axes, target in zip(several, targets, strict=True):
            draw_proxy_axes(axes, rows[rows["target"] == target], order)
            axes.set_title(target.rpartition(", ")[2], fontsize=11.5)
        several[0].set_yticks(range(len(order)), order)
        several[0].set_ylim(-0.7, len(order) - 0.3)
        return finish_figure(
            figure, several[0], "Kendall's correlation of each proxy with accuracy, with 95 % intervals"
        )


def draw_proxy_axes(axes: Axes, rows: pd.DataFrame, order: Sequence[str]) -> None:
    place = {title: number for number, title in enumerate(order)}
    for verdict, (colour, marker) in VERDICT_MARKERS.items():
        ours = rows[(rows["verdict"] == verdict) & rows["kendall"].notna()]
        heights = [place[title] for title in ours["title"]]
        axes.hlines(heights, ours["kendall_low"], ours["kendall_high"], color=colour, lw=1.6)
        axes.plot(ours["kendall"], heights, marker, color=colour, ms=6.5, mec=CARD, mew=0.8, label=verdict)
    for value in rows.loc[rows["proxy"] == BASELINE, "kendall"].dropna():
        axes.axvline(value, color=INK, lw=0.9, zorder=1)
    axes.set_xlabel("Kendall's tau-b")
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def plot_cost(rows: pd.DataFrame) -> Markup | None:
    """Kendall over seconds per architecture for one target; None if no score's time is on record."""
    timed = rows[(rows["seconds"] > 0) & rows["kendall"].notna()]
    if timed.empty:
        return None
    with mpl.rc_context(PLOT_SETTINGS | PLAIN_TEXT):
        figure, axes = blank_figure("seconds per architecture", "Kendall's tau-b")
        axes.set_xscale("log")
        axes.set_xlim(timed["seconds"].min() / 2, timed["seconds"].max() * 3)  # room for names
        for verdict, (colour, marker) in VERDICT_MARKERS.items():
            ours = timed[timed["verdict"] == verdict]
            if len(ours):
                axes.plot(
                    ours["seconds"], ours["kendall"], marker, color=colour, ms=7, mec=CARD, mew=0.8, label=verdict
                )
        for row in front(timed).to_dict("records"):
            axes.annotate(
                row["title"], (row["seconds"], row["kendall"]), (5, 4), textcoords="offset points", fontsize=9.5
            )
        axes.axhline(rows.loc[rows["proxy"] == BASELINE, "kendall"].max(), color=INK, lw=0.9, zorder=1)
        axes.xaxis.set_major_locator(LogLocator(base=10))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        return finish_figure(
            figure, axes, "Kendall's correlation over seconds per architecture, on a logarithmic scale"
        )


def front(rows: pd.DataFrame) -> pd.DataFrame:
    """Those than which none is both faster and better."""
    ordered = rows.sort_values(["seconds", "kendall"], ascending=[True, False])
    before = ordered["kendall"].cummax().shift(fill_value=-math.inf)
    return ordered[ordered["kendall"] > before]


def plot_scatter(entries: Sequence[ProxyScores], titles: Sequence[str], target: Target) -> Markup:
    """Accuracy over the rank of the score, a small plot for each entry; `MAX_POINTS_SHOWN` points at most."""
    across = 4
    down = math.ceil(len(entries) / across)
    with mpl.rc_context(PLOT_SETTINGS | PLAIN_TEXT | {"font.size": 10}):
        figure = Figure(figsize=(12.4, 0.4 + 2.3 * down), layout="constrained")
        figure.patch.set_alpha(0.0)
        grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
        for axes, one, title in zip(grid.flat, entries, titles, strict=False):
            draw_scatter(axes, one, target)
            axes.set_title(title, fontsize=10.5)
        grid[0, 0].set_ylim(bottom=100 * float(np.nanquantile(target.accuracy, 0.05)))
        for axes in grid.flat[len(entries) :]:
            axes.set_axis_off()
        figure.supxlabel("rank of the score, as a fraction: the best is at 1", fontsize=10.5)
        figure.supylabel("test accuracy, %", fontsize=10.5)
        return finish_figure(figure, grid[0, 0], f"Accuracy over the rank of each score on {target.title}")


def draw_scatter(axes: Axes, one: ProxyScores, target: Target) -> None:
    rows = common_rows(one, target)
    scores = one.ranking[int(one.leading.argmax()), rows]
    across, up = 0.5 + rank_values(scores).centred, 100 * target.accuracy[rows]
    shown = np.random.default_rng(0).permutation(len(up))[:MAX_POINTS_SHOWN]
    axes.plot(across[shown], up[shown], "o", color=QUIET, ms=2.6, mew=0, alpha=0.55)
    middle, typical = running_median(across, up)
    axes.plot(middle, typical, color=ROLE_STYLES["found-method"][0], lw=1.6)


def running_median(across: Reals, up: Reals, bins: int = 12) -> tuple[list[float], list[float]]:
    """The median accuracy of about equal twelfths of the ranks, from all architectures, at their mean rank."""
    place = np.minimum((across * bins).astype(int), bins - 1)
    held = [np.flatnonzero(place == number) for number in range(bins)]
    filled = [own for own in held if len(own)]
    return [float(across[own].mean()) for own in filled], [float(np.median(up[own])) for own in filled]
