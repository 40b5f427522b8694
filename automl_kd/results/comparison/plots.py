"""The plots of a comparison of methods: each entry with its seeds and interval, and accuracy over cost.

As in `plots`: inline SVG with the page's colours.
"""

from __future__ import annotations

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes

from automl_kd.results import units
from automl_kd.results.comparison.comparison import Comparison
from automl_kd.results.comparison.entries import ComparisonEntry, Finding
from automl_kd.results.report.plots import CARD, INK, PLOT_SETTINGS, QUIET, ROLE_STYLES, blank_figure, finish_figure

FINDING_MARKERS: dict[Finding, tuple[str, str]] = {
    "reference": (INK, "D"),
    "helped": (ROLE_STYLES["found-method"][0], "^"),
    "no difference shown": (QUIET, "o"),
    "worse": (ROLE_STYLES["default-kd"][0], "v"),
    "not known": (QUIET, "x"),
}
"""Colour and marker: shapes differ too, for colour-blind readers."""

LINES = [(colour, marker, dash) for dash in ("-", "--", ":") for colour, marker in ROLE_STYLES.values()]
"""One style per method with several shares of the compute; the reference is black."""


def plot_accuracies(judged: Comparison) -> Markup | None:
    """Test accuracy at the largest share of the compute, best mean on top: mean, 95 % interval, and every seed.

    A vertical line goes through the reference's mean. None if nothing is complete.
    """
    compute = max((one.compute_fraction for one in judged.entries if one.test.n), default=0.0)
    entries = sorted((one for one in judged.at(compute) if one.test.n), key=lambda one: one.test.mean)
    if not entries:
        return None
    with mpl.rc_context(PLOT_SETTINGS | {"text.parse_math": False}):
        figure, axes = blank_figure("test accuracy, %", "", height=1.5 + 0.3 * len(entries))
        for place, one in enumerate(entries):
            draw_accuracy(axes, place, one)
        for word in FINDING_MARKERS:
            draw_mean(axes, word, [(place, one) for place, one in enumerate(entries) if one.finding == word])
        axes.plot([], [], "|", color=INK, ms=7, alpha=0.6, label="one seed")
        axes.set_yticks(range(len(entries)), [one.title for one in entries])
        axes.set_ylim(-0.7, len(entries) - 0.3)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        return finish_figure(figure, axes, "Test accuracy of each method, with 95 % intervals and every seed")


def draw_accuracy(axes: Axes, place: int, one: ComparisonEntry) -> None:
    """The seeds, the interval, and for the reference the line that the others are compared with."""
    if one.finding == "reference":
        axes.axvline(100 * one.test.mean, color=INK, lw=0.9, zorder=1)
    if not units.missing(one.test.half_width):
        colour, _ = FINDING_MARKERS[one.finding]
        axes.plot([100 * one.test.low, 100 * one.test.high], [place, place], color=colour, lw=1.6, zorder=2)
    seeds = [100 * value for value in one.accuracy.values()]
    axes.plot(seeds, [place] * len(seeds), "|", color=INK, ms=7, alpha=0.6, zorder=3)


def draw_mean(axes: Axes, word: Finding, entries: list[tuple[int, ComparisonEntry]]) -> None:
    if entries:
        colour, marker = FINDING_MARKERS[word]
        means = [100 * one.test.mean for _, one in entries]
        edge = colour if marker == "x" else CARD
        places = [place for place, _ in entries]
        axes.plot(means, places, marker, color=colour, ms=7.5, mec=edge, mew=0.8, zorder=4, label=word)


def accuracy_over_cost(judged: Comparison) -> Markup | None:
    """Test accuracy over the cost of a training, one line per method with several shares of the compute.

    None if no method has several.
    """
    lines: dict[tuple[str, str], list[ComparisonEntry]] = {}
    for one in judged.entries:
        if one.test.n and one.cost > 0:
            lines.setdefault((one.compared_method.name, one.options_json), []).append(one)
    longer = [ours for ours in lines.values() if len(ours) > 1]
    if not longer:
        return None
    with mpl.rc_context(PLOT_SETTINGS | {"text.parse_math": False}):
        figure, axes = blank_figure(f"cost of a training, {judged.unit.name}", "test accuracy, %")
        for place, ours in enumerate(longer):
            look = (INK, "D", "-") if ours[0].compared_method == judged.reference else LINES[place % len(LINES)]
            draw_line(axes, sorted(ours, key=lambda one: one.cost), *look)
        return finish_figure(figure, axes, "Test accuracy over the cost of a training")


def draw_line(axes: Axes, entries: list[ComparisonEntry], colour: str, marker: str, dash: str) -> None:
    axes.errorbar(
        [one.cost for one in entries],
        [100 * one.test.mean for one in entries],
        yerr=[0.0 if units.missing(one.test.half_width) else 100 * one.test.half_width for one in entries],
        color=colour,
        marker=marker,
        linestyle=dash,
        ms=6.5,
        mec=CARD,
        mew=0.8,
        lw=1.5,
        elinewidth=0.9,
        capsize=2,
        label=entries[0].title,
    )
