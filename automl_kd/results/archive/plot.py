"""The front as inline SVG in the page's colours: accuracy on validation against one cost, with the budget as a line."""

from __future__ import annotations

import re
from collections.abc import Sequence

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from automl_kd.results.archive.choice import StudentChoice, find_front, known_cost
from automl_kd.results.archive.limits import COST_MEASURES, CostName
from automl_kd.results.archive.students import TrainedStudent
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

BEST_COLOUR, PLAIN_COLOUR = ROLE_STYLES["found-method"][0], ROLE_STYLES["default-kd"][0]
SMALLEST_COLOUR = ROLE_STYLES["found-scratch"][0]

SIZE = (4.9, 4.4)
"""Inches: text keeps its size relative to them, and is to be read on a phone."""

LOGARITHMIC = 4
"""By what factor the ends of a logarithmic scale lie apart, or more."""

PointLook = tuple[str, str, str, float]
"""Label, colour, marker and opacity."""


def front_plot(choice: StudentChoice, cost: CostName) -> Markup | None:
    """Students over `cost`, the front, the limit, the best and the smallest; None if no student has this cost."""
    known = [one for one in choice.archive.trained if one.costs.by_name[cost] is not None]
    peers = [one for one in choice.peers if one in known]
    if not peers:
        return None
    with mpl.rc_context(PLOT_SETTINGS):
        figure, axes = blank_figure(COST_MEASURES[cost].title, "validation accuracy, %")
        figure.set_size_inches(*SIZE)
        shorter = [one for one in known if one.standing < peers[0].standing]
        draw_points(axes, shorter, cost, ("shorter training", QUIET, ".", 0.5))
        draw_points(axes, [one for one in peers if not one.plain], cost, ("student", QUIET, "o", 0.6))
        draw_points(axes, [one for one in peers if one.plain], cost, ("plain student", PLAIN_COLOUR, "s", 1.0))
        draw_front(axes, find_front(peers, cost), cost)
        draw_chosen(axes, choice, cost)
        if (limit := choice.limits.given.get(cost)) is not None:
            axes.axvline(limit, color=INK, lw=1.2, ls=(0, (5, 3)), label=f"limit, {COST_MEASURES[cost].say(limit)}")
        scale_costs(axes, cost)
        return finish_figure(figure, axes, f"Accuracy on validation against {COST_MEASURES[cost].title}")


def scale_costs(axes: Axes, cost: CostName) -> None:
    """A logarithmic scale where the costs lie apart; one that differ by less would leave it without ticks."""
    low, high = axes.get_xlim()
    if low > 0 and high > LOGARITHMIC * low:
        axes.set_xscale("log")
        axes.autoscale_view(scaley=False)
        label_decades(axes)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5))
    write = COST_MEASURES[cost].write
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: re.sub(r"\.0+(?= |$)", "", write(value))))


def draw_points(axes: Axes, students: Sequence[TrainedStudent], cost: CostName, look: PointLook) -> None:
    label, colour, marker, alpha = look
    if students:
        across = [known_cost(one, cost) for one in students]
        heights = [100 * one.val_accuracy for one in students]
        axes.plot(across, heights, marker, color=colour, ms=6, alpha=alpha, label=label)


def draw_front(axes: Axes, front: Sequence[TrainedStudent], cost: CostName) -> None:
    """As steps: what is reached up to a cost."""
    if len(front) > 1:
        across = [known_cost(one, cost) for one in front]
        heights = [100 * one.val_accuracy for one in front]
        axes.step(across, heights, where="post", color=QUIET, lw=1.3, label="front")


def draw_chosen(axes: Axes, choice: StudentChoice, cost: CostName) -> None:
    """The best with one standard error to each side, a line at its lower end, and the smallest above that line."""
    best, smallest = choice.best, choice.smallest
    if best is None or smallest is None or best.costs.by_name[cost] is None:
        return
    height, error = 100 * best.val_accuracy, 100 * best.standard_error
    axes.axhline(height - error, color=QUIET, lw=0.9, ls=":", label="one error below the best")
    axes.errorbar(
        known_cost(best, cost),
        height,
        yerr=error or None,
        color=BEST_COLOUR,
        marker="D",
        ms=8,
        mec=CARD,
        mew=0.8,
        capsize=3,
        linestyle="none",
        label="best, and smallest" if smallest is best else "best",
        zorder=4,
    )
    if smallest is not best and smallest.costs.by_name[cost] is not None:
        at = (known_cost(smallest, cost), 100 * smallest.val_accuracy)
        axes.plot(*at, "*", color=SMALLEST_COLOUR, ms=15, mec=CARD, mew=0.8, label="smallest", zorder=5)
