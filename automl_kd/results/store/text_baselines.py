"""What classifiers without a network of their own reach on an experiment's texts, kept beside its results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

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


def text_baselines_line(folder: Path) -> str:
    """The baselines in one sentence; empty where there are none."""
    found = read_text_baselines(folder)
    listed = ", ".join(f"{one.title} {units.percent(one.test_accuracy)} %" for one in found)
    others = {one.metric: None for one in found if one.metric != "accuracy"}
    by = f" by {' and '.join(units.METRICS.get(name, name) for name in others)}" if others else ""
    return f"Logistic regression without training a network, on test{by}: {listed}." if listed else ""
