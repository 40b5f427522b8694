"""The regret of a search's incumbent after a number of trials or seconds.

After each trial a search has an incumbent: of all it knows the architecture with the best accuracy to choose by, long
trainings before short ones, the earlier of equals. Regret is the best test accuracy of the space minus the incumbent's.
Hypervolume is the measure for two objectives. Arrays are (seeds, trials); an architecture of -1 is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from automl_kd.nasbench.table.columns import Integers, Reals
from automl_kd.nasbench.table.table import Choosing, Reporting, Yardsticks

NONE = -1
QUANTILES = (0.1, 0.5, 0.9)
"""The band and its middle."""


def incumbents(rows: Integers, rungs: NDArray[np.int8], choosing: Sequence[Choosing]) -> Integers:
    """The incumbent after each trial; `rungs`: which of `choosing` it used, the shortest training first."""
    values = np.stack([one.values for one in choosing])[rungs, rows]
    # Accuracies lie in [0, 1], so a longer training outweighs any of a shorter one.
    merit = np.where(rows == NONE, -np.inf, values + 2.0 * rungs)
    best = np.maximum.accumulate(merit, axis=1)
    before = np.concatenate([np.full((len(rows), 1), -np.inf), best[:, :-1]], axis=1)
    places = np.maximum.accumulate(np.where(merit > before, np.arange(rows.shape[1]), 0), axis=1)
    held = np.take_along_axis(rows, places, axis=1)
    return np.where(best == -np.inf, NONE, held)


def at_seconds(held: Integers, seconds: Reals, marks: Sequence[float]) -> Integers:
    """The incumbents at simulated times, shape (seeds, marks): by the trials that had ended.

    `NONE` before the first, and after the end of a seed's search.
    """
    answered = np.stack([(seconds <= mark).sum(axis=1) for mark in marks], axis=1)
    found = np.take_along_axis(held, np.maximum(answered - 1, 0), axis=1)
    over = np.array(marks) > seconds[:, -1:]
    return np.where((answered == 0) | over, NONE, found)


def curve_frame(seeds: Sequence[int], at: Sequence[float], held: Integers, by: Yardsticks, axis: str) -> pd.DataFrame:
    """One row for each seed and mark: columns seed, axis, at, architecture, val_accuracy, test_accuracy, regret."""
    known = held != NONE
    return pd.DataFrame(
        {
            "seed": np.repeat(np.array(seeds, dtype=np.int64), len(at)),
            "axis": axis,
            "at": np.tile(np.array(at, dtype=np.float64), len(seeds)),
            "architecture": held.ravel(),
            "val_accuracy": np.where(known, by.choosing.values[held], np.nan).ravel(),
            "test_accuracy": np.where(known, by.reporting.values[held], np.nan).ravel(),
            "regret": np.where(known, by.reporting.regret(held), np.nan).ravel(),
        }
    )


def bands(curves: pd.DataFrame, value: str = "regret", by: Sequence[str] = ("axis", "at")) -> pd.DataFrame:
    """Columns low, middle, high (`QUANTILES`), mean and seeds, by group; NaN where a seed has no value.

    A band over the seeds that happen to have one would be of the quick or of the slow.
    """
    ordered = curves.sort_values(list(by), kind="stable")
    first = ~ordered.duplicated(list(by)).to_numpy()
    groups = np.split(ordered[value].to_numpy(dtype=np.float64), np.flatnonzero(first)[1:])
    # Quantiles and mean of what holds a NaN are NaN.
    numbers = [(*np.quantile(group, QUANTILES), group.mean(), len(group)) for group in groups if len(group)]
    found = ordered.loc[first, list(by)].reset_index(drop=True)
    found[["low", "middle", "high", "mean", "seeds"]] = np.array(numbers).reshape(-1, 5)
    return found


class Extent(NamedTuple):
    """What hypervolume is measured against: the reference point, and the area of the best front of the space.

    `accuracy`, `latency`: of the reference point; worse architectures add nothing. `area`: in units of the rectangle
    between the reference point and (best accuracy, no latency).
    """

    accuracy: float
    latency: float
    best: float
    area: float


def extent_of(reporting: Reporting, latency: Reals, points: float) -> Extent:
    """Reference: `points` (a fraction) below the best test accuracy, and the slowest architecture."""
    slowest = float(np.nanmax(latency))
    open_ended = Extent(reporting.best - points, slowest, reporting.best, 1.0)
    everything = np.flatnonzero(~np.isnan(latency))[None]
    area = float(dominated_area(everything, reporting.values, latency, open_ended)[0])
    return open_ended._replace(area=area)


def hypervolume(rows: Integers, by: Yardsticks, latency: Reals, extent: Extent) -> Reals:
    """Of the trials of each seed, (seeds, trials) to (seeds,): the share of the best front's area, 0 to 1.

    Who is on the front is chosen by the accuracy to choose by, and what it is worth is the test accuracy.
    """
    order = np.lexsort((-by.choosing.values[rows], latency[rows]), axis=1)
    ascending = np.take_along_axis(rows, order, axis=1)
    values = by.choosing.values[ascending]
    before = np.concatenate([np.full((len(rows), 1), -np.inf), np.maximum.accumulate(values, axis=1)[:, :-1]], axis=1)
    front = np.where((values > before) & ~np.isnan(latency[ascending]), ascending, NONE)
    return dominated_area(front, by.reporting.values, latency, extent) / extent.area


def dominated_area(rows: Integers, accuracy: Reals, latency: Reals, extent: Extent) -> Reals:
    """The area that `rows` (seeds, n) dominate, in units of the rectangle at the reference point."""
    gain = (accuracy[rows] - extent.accuracy) / (extent.best - extent.accuracy)
    gain = np.where(rows == NONE, 0.0, np.clip(gain, 0.0, 1.0))
    start = np.where(rows == NONE, 1.0, np.minimum(latency[rows] / extent.latency, 1.0))
    order = np.argsort(start, axis=1, kind="stable")
    start = np.take_along_axis(start, order, axis=1)
    height = np.maximum.accumulate(np.take_along_axis(gain, order, axis=1), axis=1)
    until = np.concatenate([start[:, 1:], np.ones((len(rows), 1))], axis=1)
    area: Reals = ((until - start) * height).sum(axis=1)
    return area
