"""The paired test and Holm's adjustment, by hand and by definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from automl_kd.results.statistics.interval import estimate_mean
from automl_kd.results.statistics.significance import detectable, holm, t_test


def test_two_differences_by_hand():
    # 1 and 3: mean 2, s = sqrt 2, t = 2 sqrt 2 / sqrt 2 = 2; with one degree of freedom Student's t is Cauchy's:
    # p = 2 (1/2 - atan(2) / pi) = 0.2952
    assert t_test(estimate_mean([1.0, 3.0])) == pytest.approx(1 - 2 * math.atan(2) / math.pi)
    assert t_test(estimate_mean([-1.0, -3.0])) == t_test(estimate_mean([1.0, 3.0]))


@pytest.mark.parametrize("values", [[], [0.1], [0.1, 0.1, 0.1], [0.0, 0.0]])
def test_undefined_without_a_spread(values):
    assert math.isnan(t_test(estimate_mean(values)))
    assert math.isnan(detectable(estimate_mean(values), 0.05))


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=8).filter(lambda values: np.std(values) > 1e-6))
def test_agrees_with_scipy(values):
    assert t_test(estimate_mean(values)) == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


def test_holm_by_hand():
    # Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1: 0.04, 0.06, 0.06, 0.04; none below one before it: 0.06.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])


def test_a_test_that_was_not_made_is_not_counted():
    first, second, third = holm([0.02, math.nan, 0.5])
    assert (first, third) == pytest.approx((0.04, 0.5))
    assert math.isnan(second)


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_keeps_the_order_and_lies_between_none_and_bonferroni(values):
    adjusted = holm(values)
    for p, q in zip(values, adjusted, strict=True):
        assert p <= q <= 1
        assert q <= min(1.0, len(values) * p) + 1e-12
    ranked = sorted(zip(values, adjusted, strict=True))
    assert [q for _, q in ranked] == sorted(adjusted)


def test_what_is_detectable_at_a_level_has_that_p():
    one = estimate_mean([1.0, 2.0, 4.0])
    assert detectable(one, 0.05) == pytest.approx(one.half_width)
    # A mean as large as what is detectable at 0.01, with the same spread, has p = 0.01.
    assert t_test(one._replace(mean=detectable(one, 0.01))) == pytest.approx(0.01)
