"""Mean and 95 % interval of a few measurements, by Student's t.

Student. The probable error of a mean. Biometrika 6(1), 1908. For n independent, roughly normal values with sample
standard deviation s, the interval is mean +- t(0.975; n - 1) s / sqrt(n). One value has no interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit


class Estimate(NamedTuple):
    """`std` and `half_width` are NaN for fewer than two values, `mean` for none."""

    n: int
    mean: float
    std: float
    half_width: float

    @property
    def low(self) -> float:
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        return self.mean + self.half_width


def estimate_mean(values: Iterable[float]) -> Estimate:
    """Mean, sample standard deviation and half the width of the 95 % interval; NaN among `values` is left out."""
    array = np.array([value for value in values if not math.isnan(value)], dtype=np.float64)
    n = len(array)
    mean = float(array.mean()) if n else math.nan
    if n < 2:
        return Estimate(n, mean, math.nan, math.nan)
    std = float(array.std(ddof=1))
    return Estimate(n, mean, std, float(stdtrit(n - 1, 0.975)) * std / math.sqrt(n))
