"""Mean and interval by hand and by definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from automl_kd.results.statistics.interval import estimate_mean


def test_three_numbers_by_hand():
    # 1, 2, 3: mean 2, s = 1, t(0.975; 2) = 4.3027, half width 4.3027 / sqrt 3 = 2.4841
    one = estimate_mean([3.0, 1.0, 2.0])
    assert one.n == 3
    assert one.mean == 2.0
    assert one.std == 1.0
    assert one.half_width == pytest.approx(2.4841, abs=1e-4)
    assert (one.low, one.high) == pytest.approx((-0.4841, 4.4841), abs=1e-4)


def test_one_value_has_no_interval_and_none_no_mean():
    one, none = estimate_mean([0.5]), estimate_mean([])
    assert (one.n, one.mean) == (1, 0.5)
    assert math.isnan(one.half_width)
    assert none.n == 0
    assert math.isnan(none.mean)


def test_missing_values_are_left_out():
    assert estimate_mean([1.0, math.nan, 3.0])[:2] == (2, 2.0)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8).filter(lambda values: np.std(values) > 1e-6))
def test_agrees_with_scipy(values):
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    one = estimate_mean(values)
    assert (one.low, one.high) == pytest.approx((low, high))
