"""Rank correlations by hand, against scipy and naive sums, and their bootstrap against resampling in the open."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from automl_kd.nasbench.proxy_benchmark.rank_correlation import (
    EXACT,
    concordance,
    count_smaller,
    draws,
    kendall,
    partial_spearman,
    rank_values,
    resampled_kendall,
    resampled_spearman,
    spearman,
)

TIED = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=40)


def example(n: int, ties: bool = True) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    x = rng.normal(size=n)
    y = x + rng.normal(size=n)
    return (x.round(1), y.round(1)) if ties else (x, y)


def test_four_points_by_hand():
    x, y = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 3.0, 2.0, 4.0])
    assert kendall(x, y) == pytest.approx((5 - 1) / 6)  # one of six pairs is discordant
    assert spearman(x, y) == pytest.approx(1 - 6 * 2 / (4 * 15))  # 1 - 6 sum d^2 / (n (n^2 - 1))


def test_ties_by_hand():
    # pairs: (1,2) tied in x, (1,3) and (2,3) concordant; tau-b = 2 / sqrt((3 - 1) * 3)
    assert kendall(np.array([1.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0])) == pytest.approx(2 / math.sqrt(6))


@given(TIED)
def test_as_scipy_has_them(pairs):
    x, y = np.array(pairs, dtype=np.float64).T
    with np.errstate(invalid="ignore"):
        constant = len(set(x)) == 1 or len(set(y)) == 1
    if constant:
        assert math.isnan(kendall(x, y))
        assert math.isnan(spearman(x, y))
        return
    assert kendall(x, y) == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-12)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


@given(TIED)
def test_concordance_is_the_sum_it_stands_for(pairs):
    x, y = np.array(pairs, dtype=np.float64).T
    naive = (np.sign(x[:, None] - x) * np.sign(y[:, None] - y)).mean(axis=1)
    np.testing.assert_allclose(concordance(rank_values(x), rank_values(y)), naive, atol=1e-12)


@given(st.permutations(range(11)), st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), min_size=1))
def test_dominated_counts(values, questions):
    ends, bounds = np.array(questions).T
    expected = [sum(value < bound for value in values[:end]) for end, bound in questions]
    assert count_smaller(np.array(values), ends, bounds).tolist() == expected


def test_monotone_changes_change_nothing():
    x, y = example(300)
    assert kendall(np.exp(x), y) == kendall(x, y)
    assert spearman(-x, y) == pytest.approx(-spearman(x, y))
    failed = np.where(x < -1, -np.inf, x)  # failures are equal and below every score
    assert kendall(failed, y) == kendall(np.maximum(x, -1.1), y)


def test_values_without_an_order_are_refused():
    with pytest.raises(ValueError, match="have no ranks"):
        kendall(np.array([1.0, np.nan]), np.array([1.0, 2.0]))


def test_partial_is_the_textbook_formula_for_one_given():
    x, y = example(200)
    z = x + y + np.random.default_rng(1).normal(size=200)
    xy, xz, yz = spearman(x, y), spearman(x, z), spearman(y, z)
    expected = (xy - xz * yz) / math.sqrt((1 - xz**2) * (1 - yz**2))
    assert partial_spearman(x, y, z[:, None]) == pytest.approx(expected)


def test_partial_given_itself_is_nothing():
    x, y = example(50)
    assert math.isnan(partial_spearman(x, y, np.column_stack([2 * x + 1, y**2])))


@pytest.mark.parametrize("n", [30, EXACT])
def test_small_draws_are_exact(n):
    x, y = example(n)
    counts = draws(n, 20, seed=3)
    for tau, rho, drawn in zip(
        resampled_kendall(x, y, counts), resampled_spearman(x, y, counts), counts.astype(int), strict=True
    ):
        sample = np.repeat(np.arange(n), drawn)
        assert tau == pytest.approx(stats.kendalltau(x[sample], y[sample]).statistic, abs=1e-9)
        assert rho == pytest.approx(stats.spearmanr(x[sample], y[sample]).statistic, abs=1e-9)


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize(
    ("resampled", "reference"), [(resampled_kendall, stats.kendalltau), (resampled_spearman, stats.spearmanr)]
)
def test_large_draws_are_right_to_first_order(resampled, reference, ties):
    n = 1200
    x, y = example(n, ties)
    counts = draws(n, 150, seed=5)
    samples = [np.repeat(np.arange(n), drawn) for drawn in counts.astype(int)]
    exact = np.array([reference(x[sample], y[sample]).statistic for sample in samples])
    expanded = resampled(x, y, counts)
    deviation = exact.std()
    assert np.abs(expanded - exact).max() < 0.4 * deviation  # each draw is met, not only the spread
    assert expanded.std() == pytest.approx(deviation, rel=0.1)
    assert expanded.mean() == pytest.approx(exact.mean(), abs=0.1 * deviation)


def test_equal_weights_give_the_correlation_itself():
    for n in (EXACT, EXACT + 1):
        x, y = example(n)
        once = np.ones((1, n), dtype=np.float32)
        assert resampled_kendall(x, y, once)[0] == pytest.approx(kendall(x, y))
        assert resampled_spearman(x, y, once)[0] == pytest.approx(spearman(x, y))


def test_draws_are_of_n_and_repeatable():
    counts = draws(50, 8, seed=1)
    assert (counts.sum(axis=1) == 50).all()
    assert (counts == draws(50, 8, seed=1)).all()
    assert (counts != draws(50, 8, seed=2)).any()


def test_intervals_hold_what_they_promise():
    # of 200 samples of a population whose tau is known to be 2/pi asin(rho), about 95 % of the intervals hold it
    rng = np.random.default_rng(0)
    true = 2 / math.pi * math.asin(0.6)
    held = 0
    for _ in range(200):
        x, noise = rng.normal(size=(2, 120))
        bounds = np.quantile(resampled_kendall(x, 0.6 * x + 0.8 * noise, draws(120, 200, seed=0)), [0.025, 0.975])
        held += bounds[0] <= true <= bounds[1]
    assert 180 <= held <= 199
