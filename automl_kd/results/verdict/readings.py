"""The readings of a comparison side by side: the difference from each baseline where compute, or epochs, are equal.

Rows say which readings they serve. Those of earlier versions serve one, "compute".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from automl_kd.results import units
from automl_kd.results.sheet import Column, Sheet
from automl_kd.results.statistics.interval import Estimate, estimate_mean
from automl_kd.results.store.row import readings_of
from automl_kd.spec import READINGS, ReadingName

READING_TITLES: Mapping[ReadingName, str] = {
    "compute": "same compute",
    "shared-teacher": "same compute, teacher shared",
    "epochs": "same epochs",
}
WHERE: Mapping[ReadingName, str] = {
    "compute": "at equal compute",
    "shared-teacher": "at equal compute with a shared teacher",
    "epochs": "at equal epochs",
}
READINGS_NOTE = (
    "Differences in test accuracy, in points, with 95 % intervals, and the epochs of what the line names. Same "
    "compute: all passes are counted. Teacher shared: its passes are counted once for all trainings that read them "
    "from the cache. Same epochs: as many steps of the student, whatever they cost."
)
LONGER = 1.25
"""Of two lengths of one training, a ratio from which on the gain per doubling is written."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One baseline in one reading. `gain`: of what is judged over it, in test accuracy. `epochs`: as text."""

    gain: Estimate
    epochs: str

    @property
    def finding(self) -> str:
        """Whether the interval leaves out zero, and to which side; empty where nothing can be said."""
        if self.gain.n < 2:
            return ""
        shown = self.gain.mean != 0 and abs(self.gain.mean) > self.gain.half_width
        return "no difference shown" if not shown else "better" if self.gain.mean > 0 else "worse"


ReadingTable = Mapping[str, Mapping[ReadingName, Compared]]
"""By the title of a baseline, or in a comparison of a method that is compared with its reference."""


def readings_in(final: pd.DataFrame) -> tuple[ReadingName, ...]:
    """The readings that finals serve, in their order; the first is the one that is judged."""
    served = {name for text in final["readings_json"].unique() for name in readings_of(text)}
    return tuple(one for one in READINGS if one in served) or READINGS[:1]


def rows_in(rows: pd.DataFrame, reading: ReadingName) -> pd.DataFrame:
    """`rows` without finals that do not serve `reading`; what they were given is the fraction that they have there."""
    shares = [
        readings_of(text, share).get(reading) if kind == "final" else share
        for kind, text, share in zip(
            rows["trial_kind"], rows["readings_json"], rows["compute_fraction"].fillna(1.0), strict=True
        )
    ]
    kept = pd.Series(shares, rows.index, dtype=float)
    return rows.assign(compute_fraction=kept)[kept.notna()]


def readings_sheet(readings: ReadingTable, reference: str = "") -> Sheet | None:
    """A line for each baseline, a column for each reading; None where there is one reading.

    `reference`: of a comparison, whose lines are methods and what each gained over it.
    """
    known = [one for one in READINGS if any(one in found for found in readings.values())]
    if len(known) < 2:
        return None
    first = f"method, over {reference}" if reference else "over"
    columns = (Column(first), *(Column(f"{READING_TITLES[one]}, points", numeric=True) for one in known))
    lines = [
        (title, *(write_compared(found[one]) if one in found else units.MISSING for one in known))
        for title, found in readings.items()
    ]
    return Sheet(columns, tuple(lines))


def write_compared(one: Compared) -> str:
    if not one.gain.n:
        return f"{units.MISSING} ({one.epochs})"
    interval = "" if one.gain.n < 2 else f" ± {units.percent(one.gain.half_width)}"
    word = "epoch" if one.epochs == "1" else "epochs"
    return f"{units.points(one.gain.mean)}{interval} ({one.epochs} {word})"


def disagreement_sentence(readings: ReadingTable, reference: str = "") -> str:
    """A sentence on the baselines over which readings find different things; empty where all agree.

    `reference`: of a comparison, whose methods are named with what they gained over it.
    """
    parts = []
    for title, found in readings.items():
        findings = {reading: one.finding for reading, one in found.items() if one.finding}
        if len(set(findings.values())) > 1:
            points = {reading: units.points(found[reading].gain.mean) for reading in findings}
            clauses = [f"{word} {WHERE[reading]} ({points[reading]})" for reading, word in findings.items()]
            parts.append(f"{f'{title} over {reference}' if reference else f'over {title}'}: {', '.join(clauses)}")
    by = ", by intervals that are not adjusted for the number of methods" if reference else ""
    return f"The readings disagree{by}: {'; '.join(parts)}." if parts else ""


def gain_per_doubling(lengths: Mapping[float, Mapping[int, float]]) -> tuple[float, float, Estimate] | None:
    """From the shortest to the longest of several lengths, with accuracies by seed: both, and the gain per doubling.

    None where they are less than `LONGER` apart, or no seed is in both.
    """
    if len(lengths) < 2 or max(lengths) < LONGER * min(lengths):
        return None
    short, long = min(lengths), max(lengths)
    shared = [seed for seed in lengths[long] if seed in lengths[short]]
    doublings = math.log2(long / short)
    gain = estimate_mean((lengths[long][seed] - lengths[short][seed]) / doublings for seed in shared)
    return (short, long, gain) if gain.n else None


def doubling_sentence(title: str, lengths: Mapping[float, Mapping[int, float]]) -> str:
    """Such as "Plain KD gains 9.10 points per doubling of epochs (2 to 16 epochs, 4 seeds)."; empty where unknown."""
    known = gain_per_doubling(lengths)
    if known is None:
        return ""
    short, long, gain = known
    word = "gains" if gain.mean >= 0 else "loses"
    points = units.points(abs(gain.mean)).removeprefix("+")
    spans = " to ".join(units.epochs(math.ceil(one), one - math.ceil(one) + 1) for one in (short, long))
    seeds = units.some(gain.n, "seed")
    return f"{title[:1].upper()}{title[1:]} {word} {points} points per doubling of epochs ({spans} epochs, {seeds})."


def accuracies_by_length(trials: pd.DataFrame, metric: str) -> dict[float, dict[int, float]]:
    """Of trials that differ in length and seed alone: accuracies of the complete ones, by epochs and by seed."""
    complete = trials[(trials["status"] == "complete") & trials[metric].notna()].drop_duplicates("key")
    passes = complete["epochs"] - 1 + complete["last_epoch"].fillna(1.0)
    found: dict[float, dict[int, float]] = {}
    for length, seed, accuracy in zip(passes, complete["seed"], complete[metric], strict=True):
        found.setdefault(float(length), {})[int(seed)] = float(accuracy)
    return found
