"""Regret within budgets and correlation at equal size, by hand and against enumeration."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl_kd.nasbench.proxy_benchmark.budget import expected_best, matched, regrets


def array(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def test_equal_scores_by_hand():
    scores, accuracy = array(2, 1, 1, 1), array(0.5, 0.6, 0.7, 0.8)
    assert expected_best(scores, accuracy, 1) == 0.5
    assert expected_best(scores, accuracy, 2) == pytest.approx(0.7)  # one of three equals: their mean
    assert expected_best(scores, accuracy, 3) == pytest.approx(2 / 3 * 0.8 + 1 / 3 * 0.7)  # two of three hold 0.8 twice
    assert expected_best(scores, accuracy, 4) == expected_best(scores, accuracy, 10) == pytest.approx(0.8)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20)), min_size=1, max_size=8),
    st.integers(min_value=1, max_value=8),
)
def test_expected_best_is_the_mean_over_all_orders(pairs, picks):
    scores, accuracy = np.array(pairs, dtype=np.float64).T
    picks = min(picks, len(pairs))
    threshold = np.sort(scores)[-picks]
    sure = [one for one, score in zip(accuracy, scores, strict=True) if score > threshold]
    tied = [one for one, score in zip(accuracy, scores, strict=True) if score == threshold]
    ways = [max([*sure, *drawn]) for drawn in combinations(tied, picks - len(sure))]
    assert expected_best(scores, accuracy, picks) == pytest.approx(np.mean(ways))


def test_regret_by_hand():
    # cost 1 2 3 4; the budget of one half admits the first two: the score prefers the second, the first is better
    accuracy, scores = array(0.8, 0.7, 0.9, 0.6), array(1, 2, 3, 4)[None]
    found = {(one.cost, one.share): one for one in regrets(scores, accuracy, {"params": array(1, 2, 3, 4)})}
    half, whole = found["params", 0.5], found["params", 1.0]
    assert (half.limit, half.candidates, half.best) == (2.5, 2, 0.8)
    assert (half.top1, half.top10) == pytest.approx((0.1, 0.0))
    assert (whole.best, whole.candidates) == (0.9, 4)
    assert (whole.top1, whole.top10) == pytest.approx((0.3, 0.0))


def test_seeds_are_averaged_and_unknown_latencies_are_over_any_budget():
    accuracy, scores = array(0.8, 0.7, 0.9), np.array([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]])
    *_, whole = regrets(scores, accuracy, {"latency": array(1, 2, np.nan)})
    assert (whole.candidates, whole.best) == (2, 0.8)
    assert whole.top1 == pytest.approx(0.05)  # 0 for one seed, 0.1 for the other


def test_a_score_that_is_size_itself_is_worth_nothing_at_equal_size():
    rng = np.random.default_rng(0)
    size = np.repeat(np.arange(10.0), 40)
    accuracy = size + rng.normal(size=400)
    inside, bins = matched(size[None], accuracy, size)
    assert np.isnan(inside)
    assert bins == 0
    inside, bins = matched(accuracy[None], accuracy, size)
    assert inside == pytest.approx(1.0)
    assert bins == 10
    assert abs(matched(rng.normal(size=(1, 400)), accuracy, size)[0]) < 0.1


def test_few_architectures_make_few_bins():
    accuracy = np.arange(64.0)
    inside, bins = matched(accuracy[None], accuracy, accuracy)
    assert inside == pytest.approx(1.0)
    assert bins == 4
