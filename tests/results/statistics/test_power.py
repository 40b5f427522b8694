"""Which difference a comparison will show: by hand, against scipy's own t, and as often as it says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from automl_kd.results.statistics.interval import estimate_mean
from automl_kd.results.statistics.power import MOST_SEEDS, seeds_to_show, shown_difference, spread_of_differences


def test_by_hand():
    # sums of squares 2 and 0.5, over one and two degrees of freedom
    assert spread_of_differences([[1.0, 3.0], [0.0, 0.5, 1.0]]) == pytest.approx(math.sqrt(2 * (2 + 0.5) / 3))
    # t(0.975, 2) = 4.302653: 3 seeds show 2.484 times the spread
    assert shown_difference(1.0, 3) == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert shown_difference(0.01, 1) == math.inf
    assert math.isnan(spread_of_differences([[1.0], [2.0]]))


@pytest.mark.parametrize("spread", [0.4, 1.0, 2.5])
def test_so_many_seeds_show_it_and_one_fewer_does_not(spread):
    seeds = seeds_to_show(1.0, spread)
    assert shown_difference(spread, seeds) <= 1.0 < shown_difference(spread, seeds - 1) or seeds == 2
    assert seeds_to_show(1e-9, spread) == MOST_SEEDS


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_about_half_of_all_repetitions_show_it(seeds):
    rng = np.random.default_rng(seeds)
    drawn = rng.normal(shown_difference(1.0, seeds), 1.0, (4000, seeds))
    shown = np.mean([abs(one.mean) > one.half_width for one in map(estimate_mean, drawn)])
    # the spread of each repetition is its own: not exactly half
    exact = 1 - stats.nct.cdf(stats.t.ppf(0.975, seeds - 1), seeds - 1, stats.t.ppf(0.975, seeds - 1))
    assert abs(shown - exact) < 0.03
    assert 0.4 < exact < 0.65
