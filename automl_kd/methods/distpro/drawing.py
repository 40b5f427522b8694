"""The weights of distillation pathways over a run, drawn: a subplot per student stage, a line per teacher stage.

A standalone SVG. Its colours are variables of the page it is set into, if that has them.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from automl_kd.results.report.plots import INK, LINE, PLOT_SETTINGS, QUIET

FALLBACKS = {INK: "var(--ink, #1a1a1a)", QUIET: "var(--quiet, #666666)", LINE: "var(--line, #dddddd)"}
"""What stands for the plots' placeholder colours where no page gives them a value."""

DASHES = ("-", "--", ":", "-.")
"""One for each transform."""


def weights_over_time(
    axis: Sequence[float], weights: Sequence[Sequence[float]], pathways: Sequence[tuple[str, str, str]]
) -> str:
    """An SVG of `weights`, a row for each moment of `axis` in [0, 1] and a column for each pathway.

    `pathways`: teacher's stage, student's stage, transform.
    """
    students = list(dict.fromkeys(student for _, student, _ in pathways))
    top = max(value for row in weights for value in row)
    with mpl.rc_context(PLOT_SETTINGS):
        figure = Figure(figsize=(1.2 + 2.5 * len(students), 3.4), layout="constrained")
        figure.patch.set_alpha(0.0)
        all_axes: list[Axes] = list(figure.subplots(1, len(students), sharey=True, squeeze=False)[0])
        for axes, student in zip(all_axes, students, strict=True):
            axes.set_title(f"student's {student}", fontsize=10.5)
            axes.set_xlim(0, 1)
            axes.set_xticks([0, 0.5, 1], ["0", "50", "100"])
            axes.set_ylim(0, 1.05 * top or 1.0)
        for line, column in zip(styled(pathways), zip(*weights, strict=True), strict=True):
            # A single record is a point, which a line alone does not show.
            all_axes[students.index(line.pop("student"))].plot(
                axis, column, marker="." if len(axis) == 1 else "", **line
            )
        all_axes[0].set_ylabel("pathway's weight")
        figure.supxlabel("per cent of the run", fontsize=11.5)
        legend(figure, all_axes)
        return svg(figure)


def styled(pathways: Sequence[tuple[str, str, str]]) -> list[dict[str, Any]]:
    """How each pathway's line looks: colour by the depth of the teacher's stage, dashes by the transform."""
    teachers = list(dict.fromkeys(teacher for teacher, _, _ in pathways))
    kinds = list(dict.fromkeys(kind for _, _, kind in pathways))
    lines = []
    for teacher, student, kind in pathways:
        depth = teachers.index(teacher) / max(len(teachers) - 1, 1)
        # Neither end of the map, which are lost on a dark or a light ground.
        colour = to_hex(colormaps["viridis"](0.1 + 0.7 * depth))
        dash = DASHES[kinds.index(kind) % len(DASHES)]
        label = f"teacher's {teacher}" + (f", {kind}" if len(kinds) > 1 else "")
        lines.append({"student": student, "color": colour, "linestyle": dash, "lw": 1.6, "label": label})
    return lines


def legend(figure: Figure, all_axes: Sequence[Axes]) -> None:
    handles = {
        label: handle for axes in all_axes for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=5, handletextpad=0.4)


def svg(figure: Figure) -> str:
    sink = io.StringIO()
    figure.savefig(sink, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    drawn = sink.getvalue()
    drawn = drawn[drawn.index("<svg") :].replace("<svg", '<svg role="img" aria-label="Pathway weights over the run"', 1)
    for placeholder, colour in FALLBACKS.items():
        drawn = drawn.replace(placeholder, colour)
    return drawn
