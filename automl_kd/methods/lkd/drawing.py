"""A learned loss as a picture: the weight of one class over the teacher's and the student's probability of it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

SURFACE_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "automl_kd",
    "font.family": "sans-serif",
    "font.size": 10.5,
}
CONTOUR_LEVELS = 21


def learned_loss_svg(surfaces: Mapping[str, np.ndarray], probabilities: np.ndarray, what: str) -> str:
    """An SVG document with one subplot per surface of `surfaces`, at least one, named by its key.

    A surface is (points, points), rows by the teacher's and columns by the student's probability, both as in
    `probabilities`, ascending in [0, 1]. `what` is drawn: "weight", whose colours have their middle at 1 and their ends
    at 0 and 2, or "cost", whose colours span the values. Equal arguments give equal text.
    """
    with mpl.rc_context(SURFACE_SETTINGS):
        figure = Figure(figsize=(4.1 * len(surfaces) + 0.8, 4.0), layout="constrained")
        panels = np.atleast_1d(figure.subplots(1, len(surfaces), sharey=True))
        levels, colours = scale_of(surfaces, what)
        for axes, (name, values) in zip(panels, surfaces.items(), strict=True):
            drawn = axes.contourf(probabilities, probabilities, values, levels=levels, cmap=colours)
            axes.set_title(name)
            axes.set_xlabel("student's probability")
        panels[0].set_ylabel("teacher's probability")
        figure.colorbar(drawn, ax=list(panels), label=what)
        sink = io.StringIO()
        figure.savefig(sink, format="svg", metadata={"Date": None, "Creator": None})
    return sink.getvalue()


def scale_of(surfaces: Mapping[str, np.ndarray], what: str) -> tuple[np.ndarray, str]:
    if what == "weight":
        return np.linspace(0, 2, CONTOUR_LEVELS), "RdBu_r"
    low = min(float(values.min()) for values in surfaces.values())
    high = max(float(values.max()) for values in surfaces.values())
    return np.linspace(low, max(high, low + 1e-6), CONTOUR_LEVELS), "viridis"
