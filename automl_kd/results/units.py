"""How numbers are written for people; missing ones as a dash."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any

MISSING = "–"
PREFIXES = ("", " k", " M", " G", " T", " P", " E")
METRICS = {
    "macro_f1": "macro F1",
    "mean_average_precision": "mean average precision",
    "r2": "R², the share of the variance that is explained",
    "negative_mse": "the mean squared error with its sign turned",
}
"""What `data.metric` may name in place of accuracy, in words."""


def missing(value: object) -> bool:
    """Whether `value` is None, not a number, or what pandas puts in its place."""
    if value is None or isinstance(value, float):
        return value is None or math.isnan(value)
    if isinstance(value, int | str):
        return False
    import pandas as pd  # noqa: PLC0415 - slow to import, and wanted for values of its own alone

    return bool(pd.isna(value))  # type: ignore[call-overload]  # of one value


def percent(fraction: float | None) -> str:
    """0.9123 is "91.23"; the header has the %."""
    return MISSING if fraction is None or missing(fraction) else f"{100 * fraction:.2f}"


def percent_interval(mean: float, half_width: float) -> str:
    return percent(mean) if missing(half_width) else f"{percent(mean)} ± {percent(half_width)}"


def points(difference: float) -> str:
    """A difference of fractions in percentage points with its sign: 0.018 is "+1.80"."""
    rounded = round(100 * difference, 2) + 0.0  # adding zero turns -0.0 into 0.0
    return f"{rounded:+.2f}" if rounded else "0.00"


def format_count(value: float | None) -> str:
    """Three digits and a prefix: 270896 is "271 k", 4.1e7 "41.0 M"."""
    if value is None or missing(value):
        return MISSING
    number, power = float(value), 0
    while abs(number) >= 999.5 and power < len(PREFIXES) - 1:
        number, power = number / 1000, power + 1
    digits = 0 if power == 0 or abs(number) >= 99.95 else 1 if abs(number) >= 9.995 else 2
    return f"{number:.{digits}f}{PREFIXES[power]}"


def milliseconds(value: float | None) -> str:
    return MISSING if value is None or missing(value) else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def duration(seconds: float | None) -> str:
    """As "0.8 s", "42 s", "3 min 20 s" or "2 h 5 min"."""
    if seconds is None or missing(seconds):
        return MISSING
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes = round(whole / 60)
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{minutes // 60} h {minutes % 60} min"


def times(ratio: float | None) -> str:
    """A multiple: 11.23 is "11.2"."""
    if ratio is None or missing(ratio) or math.isinf(ratio):
        return MISSING
    return f"{ratio:.2f}" if ratio < 9.995 else f"{ratio:.1f}" if ratio < 99.95 else f"{ratio:.0f}"


def options(text: str | None) -> str:
    """`{"temperature": 4.0}` as "temperature=4"; empty for no options.

    Of a file with content hash the name and the first digits are left, of long numbers four digits.
    """
    if text is None or missing(text):
        return ""
    return ", ".join(f"{name}={option(value)}" for name, value in json.loads(text).items())


def option(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str):
        value = re.sub(r"\d+\.\d{4,}", lambda found: f"{float(found[0]):.4g}", value)
    return re.sub(r"^.*/([^/]+)@sha256-([0-9a-f]{8})[0-9a-f]{56}$", r"\1 (\2)", str(value))


def schedule(text: str) -> str:
    """`[[0.0, {"recipe.lr": 0.1}], ...]` as "recipe.lr on a schedule of 2 stages"; empty for none.

    What holds from the start to the end is said with its values.
    """
    stages = json.loads(text or "[]")
    if len(stages) == 1 and stages[0][0] == 0:
        return options(json.dumps({name.removeprefix("method."): value for name, value in stages[0][1].items()}))
    names = sorted({name.removeprefix("method.") for _, changes in stages for name in changes})
    return f"{' and '.join(names)} on a schedule of {some(len(stages), 'stage')}" if stages else ""


def epochs(whole: int, last_epoch: float | None = None) -> str:
    """As "13", or "12.4" where the 13th is taken to two fifths; two digits below ten."""
    if last_epoch is None or missing(last_epoch) or last_epoch == 1:
        return str(whole)
    length = whole - 1 + last_epoch
    return f"{length:.2f}" if length < 9.995 else f"{length:.1f}"


def some(number: int, noun: str) -> str:
    """As "1 seed" or "3 seeds"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def beginning(init: object) -> str:
    """What a student began with, after the name of its method; empty for drawn weights, and where nothing is known."""
    if not isinstance(init, str) or not init:
        return ""
    known = {"teacher": " from the teacher's weights", "parent": " from its parent's weights"}
    return known.get(init, f" from {init}")


def metric_sentence(names: Iterable[object]) -> str:
    """What stands in columns of accuracy, given the values of the column `metric`; empty where it is accuracy."""
    known = sorted({str(name) for name in names if isinstance(name, str)} - {"accuracy"})
    found = " or ".join(METRICS.get(name, name) for name in known)
    return f"What is called accuracy here is {found}, in hundredths." if found else ""
