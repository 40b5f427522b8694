"""Students drawn: a bar for each of their layers, as high as it is wide in channels, in the order in which they run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from automl_kd import files
from automl_kd.errors import FileError
from automl_kd.results import units
from automl_kd.results.report.plots import PLOT_SETTINGS, QUIET, ROLE_STYLES, finish_figure
from automl_kd.spec import FinalRole

StudentLayers = Sequence[Mapping[str, Any]]
"""As `models.costs.outline` has them, read from a student's card."""

CARD_FILE = "student.json"
DRAWN: Mapping[FinalRole, str] = {"default-kd": "default student", "found-method": "found student"}
LAYER_COLOURS = {
    "1x1": QUIET,
    "3x3": ROLE_STYLES["found-method"][0],
    "5x5": ROLE_STYLES["found-scratch"][0],
    "larger": ROLE_STYLES["default-kd"][0],
    "linear": ROLE_STYLES["found-fresh"][0],
}
"""Of layers, by the side of their kernel, and their colours."""


def draw_students(folder: Path, rows: pd.DataFrame) -> Markup | None:
    """The default and the found student of an experiment, one above the other; None unless both have a card.

    `rows`: of its finals.
    """
    found = {title: read_layers(folder, rows[rows["role"] == role]) for role, title in DRAWN.items()}
    if not all(found.values()):
        return None
    with mpl.rc_context(PLOT_SETTINGS):
        figure = Figure(figsize=(12.6, 5.2), layout="constrained")
        figure.patch.set_alpha(0.0)
        panels: Sequence[Axes] = figure.subplots(len(found), 1, sharex=True, sharey=True)
        kinds = {colour_group(one) for layers in found.values() for one in layers}
        for axes, (title, layers) in zip(panels, found.items(), strict=True):
            draw_bars(axes, layers, [kind for kind in LAYER_COLOURS if kind in kinds])
            axes.set_title(f"{title}: {cost_in_words(layers)}", loc="left", fontsize=11.5)
        widest = max(int(one["channels"]) for layers in found.values() for one in layers)
        panels[0].set_ylim(1, 2 * widest)  # of both: the narrowest layers have a height, the widest room above
        panels[-1].set_xlabel("layers with weights, from the image on; rows of their maps above")
        return finish_figure(figure, panels[0], "The layers of the default and of the found student")


def read_layers(folder: Path, rows: pd.DataFrame) -> StudentLayers:
    """Of the first of these trials that has a card with them; empty if none has."""
    for key in rows["key"].dropna().unique():
        try:
            card = files.read_json(folder / "trials" / str(key) / CARD_FILE)
        except FileError:
            continue
        if layers := card.get("layers"):
            return list(layers)
    return []


def cost_in_words(layers: StudentLayers) -> str:
    params, macs = (sum(int(one[name]) for one in layers) for name in ("params", "macs"))
    return f"{len(layers)} layers, {units.format_count(params)} weights, {units.format_count(macs)} multiply-adds"


def draw_bars(axes: Axes, layers: StudentLayers, kinds: Sequence[str]) -> None:
    """`kinds`: that have a name in the legend, also where this student has none."""
    for kind in kinds:
        places = [place for place, one in enumerate(layers) if colour_group(one) == kind]
        channels = [layers[place]["channels"] for place in places]
        axes.bar(places or [0], channels or [1], width=0.86 if places else 0.0, color=LAYER_COLOURS[kind], label=kind)
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylabel("channels")
    axes.grid(visible=False, axis="x")
    heights = [int(one["height"]) for one in layers]
    for place, height in enumerate(heights):
        if height > 1 and height not in heights[:place]:
            axes.axvline(place - 0.5, color=QUIET, lw=0.7, ls=":")
            axes.annotate(
                str(height), (place - 0.4, 1), xycoords=("data", "axes fraction"), va="top", color=QUIET, fontsize=9.5
            )


def colour_group(layer: Mapping[str, Any]) -> str:
    kernel = int(layer["kernel"])
    return "linear" if not kernel else f"{kernel}x{kernel}" if kernel in {1, 3, 5} else "larger"
