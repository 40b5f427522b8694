"""Which difference between two means of seeds a comparison will show, before it is run.

The interval of a mean of n differences is t(0.975, n - 1) * s / sqrt(n) to each side, with s their standard deviation
and Student's t. A difference is shown where the interval excludes zero; one of that half width is shown in about
half of all repetitions of the experiment.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from scipy.special import stdtrit

MOST_SEEDS = 1000


def spread_of_differences(groups: Sequence[Sequence[float]]) -> float:
    """The standard deviation of a difference of two trainings, from groups of trainings that differ in seed alone.

    As if seeds did nothing for a pair: trainings of one seed that are alike in more differ by less. nan for groups of
    one.
    """
    squares = [sum((value - fmean(group)) ** 2 for value in group) for group in groups]
    freedom = sum(len(group) - 1 for group in groups)
    return math.sqrt(2 * sum(squares) / freedom) if freedom > 0 else math.nan


def shown_difference(spread: float, seeds: int) -> float:
    """The smallest difference that so many seeds show, in the unit of `spread`; infinite for one seed."""
    return float(stdtrit(seeds - 1, 0.975)) * spread / math.sqrt(seeds) if seeds > 1 else math.inf


def seeds_to_show(difference: float, spread: float) -> int:
    """How many seeds show `difference`, above 0; at most `MOST_SEEDS`."""
    return next((n for n in range(2, MOST_SEEDS) if shown_difference(spread, n) <= difference), MOST_SEEDS)
