"""A line for each question that one of several experiments answers: under what conditions, by how much, how surely."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from automl_kd.results import units
from automl_kd.results.comparison.comparison import Comparison
from automl_kd.results.statistics.interval import Estimate
from automl_kd.results.verdict.arms import ANSWERS, WARM_START
from automl_kd.results.verdict.distillation_table import list_differences
from automl_kd.results.verdict.gain import Verdict

GAIN_WORDS = {
    "search": "search: found student and method over default student with plain KD",
    "architecture": "architecture: found student over default student, both from scratch",
    "teaching": "teaching: over training from scratch",
    ANSWERS: "teacher's answers: over labels alone from the same weights",
    WARM_START: "warm start: over the same from fresh weights",
}
"""What each of `COMPARISONS` is over what."""


class OverviewLine(NamedTuple):
    """`finding`: whether the interval of the difference, in points of test accuracy, excludes zero."""

    question: str
    difference: str
    interval: str
    seeds: str
    finding: str


def judged_lines(judged: Verdict) -> Iterator[OverviewLine]:
    """What a search gained, or each training of a distillation over the others."""
    gains = judged.gains.items()
    named = list_differences(judged) if judged.distilled else ((GAIN_WORDS[name], gain) for name, gain in gains)
    for question, gain in named:
        if gain.n:
            yield line_of_difference(question, gain)


def compared_lines(compared: Comparison) -> Iterator[OverviewLine]:
    """Each entry over the reference at the same share of the compute."""
    for one in compared.entries:
        if one.difference.n:
            share = "" if one.compute_fraction == 1 else f" at {units.percent(one.compute_fraction)} % of the compute"
            yield line_of_difference(f"{one.title} over {compared.reference.title}{share}", one.difference)


def line_of_difference(question: str, found: Estimate) -> OverviewLine:
    known = found.n > 1 and not math.isnan(found.half_width)
    interval = f"{units.points(found.low)} to {units.points(found.high)}" if known else units.MISSING
    finding = "no interval" if not known else "better" if found.low > 0 else "worse" if found.high < 0 else "not shown"
    return OverviewLine(question, units.points(found.mean), interval, str(found.n), finding)


def regime_of(record: Mapping[str, Any]) -> str:
    """The images and the teacher of an experiment, in a few words."""
    data, teacher = record.get("data", {}), record.get("teacher", {})
    name = str(data.get("name", "")).rstrip("/").rpartition("/")[2].rpartition(":")[2]
    said = [
        name,
        f"{data['train_images']:,} examples" if data.get("train_images") else "",
        f"{data['labelled_images']:,} labelled" if data.get("labelled_images") else "",
        f"{data['resolution']} pixels" if data.get("resolution") else "",
        f"teacher {str(teacher.get('model', '')).rpartition('/')[2]}" if teacher.get("model") else "",
        f"{epochs} epochs" if (epochs := record.get("recipe", {}).get("epochs")) else "",
    ]
    return ", ".join(filter(None, said))
