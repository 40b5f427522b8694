"""The page's part on a distillation: its table, and each training with its seeds and interval."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import pandas as pd
from markupsafe import Markup

from automl_kd.results import units
from automl_kd.results.report.plots import (
    CARD,
    INK,
    PLOT_SETTINGS,
    ROLE_STYLES,
    blank_figure,
    finish_figure,
    learning_curves,
)
from automl_kd.results.verdict.arms import Arm
from automl_kd.results.verdict.distillation import distillation_arms, training_title
from automl_kd.results.verdict.distillation_table import differences_sheet, distillation_cost_sheet, trainings_sheet
from automl_kd.results.verdict.gain import Verdict
from automl_kd.results.verdict.readings import WHERE, readings_sheet, rows_in
from automl_kd.spec import FinalRole

UNUSED_SECTIONS = ("search", "hyperparameters", "comparison")
"""Of an experiment without a search and without a comparison."""

LABEL_WIDTH = 26
"""Characters of a training's name before a line of it ends."""


def distillation_view(judged: Verdict, rows: pd.DataFrame, curves: pd.DataFrame) -> dict[str, object]:
    """Return the values of the page's template that only a distillation has."""
    arms = distillation_arms(judged.arms)
    titles = {role: textwrap.shorten(training_title(role, one), 60) for role, one in arms.items()}
    return {
        "compared": None,
        "distilled": True,
        "sentences": [judged.sentence],
        "aside": [text for text in (judged.readings_sentence, judged.teacher_sentence, judged.cost_sentence) if text],
        "where": WHERE[judged.reading],
        "readings": readings_sheet(judged.readings),
        "trainings": trainings_sheet(judged, rows),
        "gains": differences_sheet(judged),
        "costs": distillation_cost_sheet(judged),
        "cost_note": "All trainings together, failed ones included.",
        "dots": plot_trainings(arms, titles, teacher_accuracy(rows)),
        "curves": learning_curves(*own_names(rows_in(rows, judged.reading), curves, arms), titles),
    }


def own_names(
    rows: pd.DataFrame, curves: pd.DataFrame, arms: Mapping[FinalRole, Arm]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows and curves in which each training bears the role that it has in `arms`."""
    renamed = {one.role: role for role, one in arms.items()}
    return rows.assign(role=rows["role"].map(lambda role: renamed.get(role, "")).astype(str)), curves


def teacher_accuracy(rows: pd.DataFrame) -> float | None:
    """The teacher's accuracy on test; None if it was not measured."""
    complete = rows[(rows["trial_kind"] == "teacher") & (rows["status"] == "complete")].dropna(subset="test_accuracy")
    return None if complete.empty else float(complete["test_accuracy"].iloc[-1])


def plot_trainings(
    arms: Mapping[FinalRole, Arm], titles: Mapping[FinalRole, str], teacher: float | None
) -> Markup | None:
    """Test accuracy of each training: mean, 95 % interval and every seed; a line for the teacher. None without any."""
    if not arms:
        return None
    with mpl.rc_context(PLOT_SETTINGS | {"text.parse_math": False}):
        figure, axes = blank_figure("test accuracy, %", "")
        if teacher is not None:
            axes.axvline(100 * teacher, color=INK, lw=0.9, ls="--", label="teacher")
        for place, (role, one) in enumerate(reversed(list(arms.items()))):
            colour, marker = ROLE_STYLES[role]
            if not units.missing(one.test.half_width):
                axes.plot([100 * one.test.low, 100 * one.test.high], [place, place], color=colour, lw=1.6)
            seeds = [100 * value for value in one.accuracy.values()]
            label = "_" if place else "one seed"
            axes.plot(seeds, [place] * len(seeds), "|", color=INK, ms=9, alpha=0.6, label=label)
            axes.plot([100 * one.test.mean], [place], marker, color=colour, ms=7.5, mec=CARD, mew=0.8)
        names = [textwrap.fill(titles[role], LABEL_WIDTH) for role in reversed(list(arms))]
        axes.set_yticks(range(len(arms)), names)
        axes.set_ylim(-0.7, len(arms) - 0.3)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        return finish_figure(figure, axes, "Test accuracy of each training, with 95 % intervals and every seed")


def used_sections(record: Mapping[str, Any]) -> dict[str, Any]:
    """An experiment's record without the sections that have no part in a distillation."""
    return {name: value for name, value in record.items() if name not in UNUSED_SECTIONS}
