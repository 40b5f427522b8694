"""What classifiers without a network of their own reach on an experiment's texts, kept beside its results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from automl_kd import files, storage
from automl_kd.results import units

BASELINES_FILE = "text_baselines.json"


class TextBaseline(NamedTuple):
    """`title`: what it is. Accuracies are fractions. `inverse_penalty`: C of logistic regression, by validation.

    `metric`: what the accuracies are, as in rows; "accuracy" in files of earlier versions.
    """

    title: str
    val_accuracy: float
    test_accuracy: float
    inverse_penalty: float
    metric: str = "accuracy"


def write_text_baselines(folder: Path, found: Sequence[TextBaseline]) -> None:
    storage.write(folder / BASELINES_FILE, json.dumps([one._asdict() for one in found], indent=1))


def read_text_baselines(folder: Path) -> list[TextBaseline]:
    """Empty where there are none, or the file is damaged."""
    storage.pull_file(folder / BASELINES_FILE)
    try:
        return [TextBaseline(**one) for one in files.read_json(folder / BASELINES_FILE)]
    except (OSError, TypeError):
        return []


def text_baselines_lines(folder: Path, rows: pd.DataFrame) -> list[str]:
    """What reports say of them: what they come to, and whether the teacher, by these rows, is no better."""
    found = read_text_baselines(folder)
    teachers = rows[(rows["trial_kind"] == "teacher") & (rows["status"] == "complete")]["val_accuracy"].dropna()
    behind = find_teacher_no_better(found, float(teachers.iloc[-1])) if len(teachers) else ""
    return [line for line in (text_baselines_line(found), behind) if line]


def find_teacher_no_better(found: Sequence[TextBaseline], reached: float) -> str:
    """A sentence if one of them is as good on validation as the teacher, which is at `reached`; empty otherwise."""
    best = max(found, key=lambda one: one.val_accuracy, default=None)
    if best is None or best.val_accuracy < reached:
        return ""
    ours, theirs = units.percent(best.val_accuracy), units.percent(reached)
    return (
        f"The teacher is no better on validation ({theirs} %) than logistic regression {best.title} ({ours} %): it may "
        "have more to give, trained longer or by another teacher.recipe."
    )


def text_baselines_line(found: Sequence[TextBaseline]) -> str:
    """The baselines in one sentence; empty where there are none."""
    listed = ", ".join(f"{one.title} {units.percent(one.test_accuracy)} %" for one in found)
    others = {one.metric: None for one in found if one.metric != "accuracy"}
    by = f" by {' and '.join(units.METRICS.get(name, name) for name in others)}" if others else ""
    return f"Logistic regression without training a network, on test{by}: {listed}." if listed else ""
