"""The front as inline SVG in the page's colours: accuracy on validation against one cost, with the budget as a line."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes

from automl_kd.results.archive.choice import StudentChoice, cost_of, find_front
from automl_kd.results.archive.limits import MEASURES, CostName
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


def front_plot(choice: StudentChoice, cost: CostName) -> Markup | None:
    """Students over `cost`, the front, the limit, the best and the smallest; None if no student has this cost."""
    peers = [one for one in choice.peers if one.costs.by_name[cost] is not None]
    others = (
        [
            one
            for one in choice.archive.trained
            if one.standing != peers[0].standing and one.costs.by_name[cost] is not None
        ]
        if peers
        else []
    )
    if not peers:
        return None
    with mpl.rc_context(PLOT_SETTINGS):
        figure, axes = blank_figure(MEASURES[cost].title, "validation accuracy, %")
        axes.set_xscale("log")
        if others:
            draw_points(axes, others, cost, "shorter training", QUIET, ".", 0.5)
        draw_points(axes, [one for one in peers if not one.plain], cost, "student", QUIET, "o", 0.6)
        draw_points(axes, [one for one in peers if one.plain], cost, "plain student", PLAIN_COLOUR, "s", 1.0)
        draw_front(axes, find_front(peers, cost), cost)
        draw_chosen(axes, choice, cost)
        if (limit := choice.limits.given.get(cost)) is not None:
            axes.axvline(limit, color=INK, lw=1.2, ls=(0, (5, 3)), label=f"limit, {MEASURES[cost].say(limit)}")
        label_decades(axes)
        title = f"Accuracy on validation against {MEASURES[cost].title}, on a logarithmic scale"
        return finish_figure(figure, axes, title)


def draw_points(
    axes: Axes, students: Sequence[TrainedStudent], cost: CostName, label: str, colour: str, marker: str, alpha: float
) -> None:
    if students:
        across = [cost_of(one, cost) for one in students]
        heights = [100 * one.val_accuracy for one in students]
        axes.plot(across, heights, marker, color=colour, ms=6, alpha=alpha, label=label)


def draw_front(axes: Axes, front: Sequence[TrainedStudent], cost: CostName) -> None:
    """As steps: what is reached up to a cost."""
    if len(front) > 1:
        across = [cost_of(one, cost) for one in front]
        heights = [100 * one.val_accuracy for one in front]
        axes.step(across, heights, where="post", color=QUIET, lw=1.3, label="front")


def draw_chosen(axes: Axes, choice: StudentChoice, cost: CostName) -> None:
    """The best with one standard error to each side, a line at its lower end, and the smallest above that line."""
    best, smallest = choice.best, choice.smallest
    if best is None or smallest is None or best.costs.by_name[cost] is None:
        return
    height, error = 100 * best.val_accuracy, 100 * best.standard_error
    axes.axhline(height - error, color=QUIET, lw=0.9, ls=":", label="one standard error below the best")
    label = "best within the limits" if choice.limits.given else "best"
    if smallest is best:
        label += ", and the smallest above that line"
    axes.errorbar(
        cost_of(best, cost),
        height,
        yerr=error or None,
        color=BEST_COLOUR,
        marker="D",
        ms=8,
        mec=CARD,
        mew=0.8,
        capsize=3,
        linestyle="none",
        label=label,
        zorder=4,
    )
    if smallest is not best and smallest.costs.by_name[cost] is not None:
        label, at = "smallest above that line", (cost_of(smallest, cost), 100 * smallest.val_accuracy)
        axes.plot(*at, "*", color=SMALLEST_COLOUR, ms=15, mec=CARD, mew=0.8, label=label, zorder=5)
