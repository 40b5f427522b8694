"""Whether paired differences can be chance: Student's t-test and Holm's adjustment for several tests.

Student. The probable error of a mean. Biometrika 6(1), 1908: for n differences with mean d and sample standard
deviation s, t = d sqrt(n) / s has n - 1 degrees of freedom if they are independent, roughly normal and zero on average.
Holm. A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics 6(2), 1979: of m
p-values the k-th smallest is multiplied by m - k + 1, and none may come out below a smaller one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.special import stdtr, stdtrit

from automl_kd.results.statistics.interval import Estimate


def has_spread(difference: Estimate) -> bool:
    """Whether there are several differences that differ by more than rounding."""
    return difference.n > 1 and difference.std > 1e-12 * abs(difference.mean)


def t_test(difference: Estimate) -> float:
    """The two-sided p-value of no difference; NaN for fewer than two differences, or if all are the same.

    Equal differences leave no spread to judge by: accuracies are counts of images, so that a few can agree by chance.
    """
    if not has_spread(difference):
        return math.nan
    t = difference.mean * math.sqrt(difference.n) / difference.std
    return float(2 * stdtr(difference.n - 1, -abs(t)))


def holm(values: Sequence[float]) -> list[float]:
    """The p-values adjusted so that the chance of even one false finding stays below the level.

    NaN, a test that could not be made, stays NaN and does not count as a test.
    """
    ordered = sorted((place for place, p in enumerate(values) if not math.isnan(p)), key=lambda place: values[place])
    adjusted, highest = [math.nan] * len(values), 0.0
    for rank, place in enumerate(ordered):
        highest = max(highest, min(1.0, (len(ordered) - rank) * values[place]))
        adjusted[place] = highest
    return adjusted


def detectable(difference: Estimate, level: float) -> float:
    """How large the mean difference had to be, with this spread, to have a p-value of `level`; NaN without a spread."""
    if not has_spread(difference):
        return math.nan
    return float(stdtrit(difference.n - 1, 1 - level / 2)) * difference.std / math.sqrt(difference.n)
