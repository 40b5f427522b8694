"""A student inside its teacher, drawn: kept of all channels in each layer, blocks left out, and where the cost lies."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

KEPT, GONE = "#2f6f9f", "#d9d9d9"
DRAWING_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "automl_kd",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
}
ROW = 0.16
"""Height of a layer's bar, in inches."""

Layers = Sequence[Mapping[str, str | int]]
"""In order of depth: name, stage, block, kept and total (channels), params, macs; kept is 0 in a block left out."""


def draw_subgraph(layers: Layers, title: str) -> str:
    """An `<svg>` element: a bar for each layer at the left, the stages' shares of the cost at the right."""
    with mpl.rc_context(DRAWING_SETTINGS):
        figure = Figure(figsize=(8.6, 1.4 + max(ROW * len(layers), 2.0)), layout="constrained")
        figure.suptitle(title, x=0.01, ha="left", fontsize=10)
        bars, shares = figure.subplots(1, 2, width_ratios=(3, 2))
        draw_layers(bars, layers)
        draw_shares(shares, layers)
        sink = io.StringIO()
        figure.savefig(sink, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    drawn = sink.getvalue()
    return drawn[drawn.index("<svg") :]


def draw_layers(axes: Axes, layers: Layers) -> None:
    places = range(len(layers))
    axes.barh(places, [int(layer["total"]) for layer in layers], color=GONE, label="in the teacher")
    axes.barh(places, [int(layer["kept"]) for layer in layers], color=KEPT, label="kept")
    for place, layer in zip(places, layers, strict=True):
        if layer["kept"] != layer["total"]:
            words = "left out" if layer["kept"] == 0 else f"{layer['kept']} of {layer['total']}"
            axes.annotate(words, (int(layer["total"]), place), xytext=(3, 0), textcoords="offset points", va="center")
    axes.set_yticks(places, [str(layer["name"]) for layer in layers])
    axes.set_xlim(0, 1.25 * max(int(layer["total"]) for layer in layers))
    axes.invert_yaxis()
    axes.set_xlabel("output channels")
    axes.legend(loc="upper right", frameon=False)


def draw_shares(axes: Axes, layers: Layers) -> None:
    """Percent of the student's parameters and multiply-adds in each stage."""
    stages = list(dict.fromkeys(str(layer["stage"]) for layer in layers))
    for offset, (measure, words, colour) in enumerate(
        (("params", "parameters", KEPT), ("macs", "multiply-adds", "#b5651d"))
    ):
        whole = sum(int(layer[measure]) for layer in layers) or 1
        parts = [sum(int(layer[measure]) for layer in layers if layer["stage"] == stage) for stage in stages]
        heights = [place + 0.4 * offset - 0.2 for place in range(len(stages))]
        axes.barh(heights, [100 * part / whole for part in parts], height=0.38, color=colour, label=words)
    axes.set_yticks(range(len(stages)), stages)
    axes.invert_yaxis()
    axes.set_xlabel("share of the student's cost, %")
    axes.legend(loc="lower right", frameon=False)
