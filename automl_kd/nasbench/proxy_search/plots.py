"""The plots about a proxy found by search: rankings beside it, and how the searches went.

As in `plots`: inline SVG with the page's colours.
"""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from automl_kd.nasbench.proxy_search.findings import FOUND_FORMULA
from automl_kd.results.report.plots import CARD, INK, PLOT_SETTINGS, QUIET, ROLE_STYLES, blank_figure, finish_figure

NO_MATH = {"text.parse_math": False}
SEARCH_STYLES = list(ROLE_STYLES.values())


def plot_rankings(rows: pd.DataFrame) -> Markup:
    """Kendall with its interval, a subplot per target and a line per ranking, the best mean on top."""
    order = list(rows.groupby("title", observed=True)["kendall"].mean().sort_values().index)
    targets = list(dict.fromkeys(rows["target"]))
    with mpl.rc_context(PLOT_SETTINGS | NO_MATH):
        figure = Figure(figsize=(12.4, 1.2 + 0.32 * len(order)), layout="constrained")
        figure.patch.set_alpha(0.0)
        several = figure.subplots(1, len(targets), sharey=True, squeeze=False)[0]
        for axes, target in zip(several, targets, strict=True):
            draw_ranking_axes(axes, rows[rows["target"] == target], order)
            axes.set_title(target.rpartition("NAS-Bench-201, ")[2], fontsize=11.5)
        several[0].set_yticks(range(len(order)), order)
        several[0].set_ylim(-0.7, len(order) - 0.3)
        return finish_figure(figure, several[0], "Kendall's correlation of each ranking with test accuracy")


def draw_ranking_axes(axes: Axes, rows: pd.DataFrame, order: list[str]) -> None:
    colour, marker = ROLE_STYLES["found-method"]
    for name, ours in rows.groupby("title", sort=False, observed=True):
        mine = name == FOUND_FORMULA
        paint, place = (colour if mine else QUIET), order.index(str(name))
        axes.hlines([place], ours["kendall_low"], ours["kendall_high"], color=paint, lw=1.6)
        axes.plot(ours["kendall"], [place], marker if mine else "o", color=paint, ms=6.5, mec=CARD, mew=0.8)
        if mine:
            axes.axvline(float(ours["kendall"].iloc[0]), color=INK, lw=0.9, zorder=1)
    axes.set_xlabel("Kendall's tau-b")
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def progress(tried: pd.DataFrame) -> Markup:
    """Kendall on the labels of the best formula so far, over the number tried, for each search."""
    with mpl.rc_context(PLOT_SETTINGS | NO_MATH):
        figure, axes = blank_figure("formulas tried", "Kendall's tau-b on the labels")
        axes.set_xscale("log")
        for (name, ours), (colour, _) in zip(
            tried.groupby("search", sort=False, observed=True), SEARCH_STYLES * 9, strict=False
        ):
            # One row for each seed; all seeds of a search try equally many.
            values = ours.pivot(index="seed", columns="index", values="kendall")
            # A formula that ranks all equally counts as the worst.
            held = np.maximum.accumulate(values.fillna(-1.0).to_numpy(dtype=np.float64), axis=1)
            at = np.arange(1, held.shape[1] + 1)
            axes.fill_between(at, np.min(held, axis=0), np.max(held, axis=0), color=colour, alpha=0.18, lw=0)
            axes.plot(at, np.median(held, axis=0), color=colour, lw=1.7, label=str(name))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.set_xlim(left=10)
        axes.set_ylim(max(0.0, float(tried["kendall"].quantile(0.5))), float(tried["kendall"].max()) + 0.01)
        return finish_figure(figure, axes, "Kendall's correlation on the labels over the number of formulas tried")
