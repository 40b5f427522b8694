"""Students to export and exported ones, as programs and the command line name them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from automl_kd import storage
from automl_kd.errors import ResultError
from automl_kd.export import ComparisonText, is_exported, load_exported
from automl_kd.methods.model_card import load_trained_student
from automl_kd.results.comparison.comparison import Comparison

if TYPE_CHECKING:
    from collections.abc import Mapping

    from automl_kd.api.result import Result


def load_student(folder: Path | str, *, best: bool = False, trusted: bool = False) -> nn.Module:
    """The student of a finished trial or of an export, on the processor and in evaluation mode.

    `folder`: `trials/<key>` of an experiment, or the folder of an export, here or in a bucket. An exported student has
    its `preprocess` and `labels`; the images of another one are float32 (batch, channels, height, width), normalised by
    the mean and deviation of the training set. `best`: with the weights of the epoch best on validation instead of the
    last, which an export does not have. `trusted`: also one that a Python program gave as an object, which is
    unpickled, and so can run any code.
    `CheckpointError` if the trial did not finish or files are damaged, `ConfigError` for an object unless trusted.
    """
    place = storage.local_path(folder)
    storage.pull(place, weights=True)
    if is_exported(place):
        return load_exported(place, trusted=trusted)
    return load_trained_student(place, best=best, trusted=trusted)


def row_of_trial(result: Result, key: str) -> Mapping[str, Any]:
    """The row of a trial, of its final where it has one; empty if it has none."""
    try:
        rows = result.rows
    except ResultError:
        return {}
    rows = rows[rows["key"] == key]
    if rows.empty:
        return {}
    last = rows.sort_values("trial_kind", key=lambda kinds: kinds == "final").iloc[-1]
    return {str(name): value for name, value in last.items()}


def standing_of(result: Result) -> ComparisonText:
    """How the students of an experiment compare; empty where it has no verdict."""
    try:
        judged, table = result.verdict, result.table
    except ResultError:
        return ComparisonText()
    details = judged.details
    cost = "" if isinstance(details, Comparison) else details.cost_sentence
    return ComparisonText(judged.sentence, table.to_markdown(), cost)
