from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from automl_kd.samplers.pareto import ObjectivePoints, crowding_distance, non_dominated_ranks

# (1, 4), (2, 2), (4, 1) dominate nothing of each other; (2, 4) is behind (2, 2); (4, 4) is behind (2, 4) as well
FIVE = np.array([[2.0, 4.0], [1.0, 4.0], [4.0, 4.0], [4.0, 1.0], [2.0, 2.0]])

points = arrays(
    np.float64,
    st.tuples(st.integers(0, 12), st.integers(1, 3)),
    elements=st.integers(0, 4).map(float),
)


def naive_front(points: ObjectivePoints) -> list[bool]:
    def dominates(p: ObjectivePoints, q: ObjectivePoints) -> bool:
        return bool((p <= q).all() and (p < q).any())

    return [not any(dominates(p, q) for p in points) for q in points]


def test_five_points_by_hand():
    assert non_dominated_ranks(FIVE).tolist() == [1, 0, 2, 0, 0]


@given(points)
def test_ranks_peel_one_front_after_another(points):
    ranks = non_dominated_ranks(points)
    for rank in range(ranks.max(initial=-1) + 1):
        left = ranks >= rank
        assert (ranks[left] == rank).tolist() == naive_front(points[left])


@given(points, st.randoms(use_true_random=False))
def test_order_and_scale_do_not_matter(points, shuffler):
    order = list(range(len(points)))
    shuffler.shuffle(order)
    np.testing.assert_array_equal(non_dominated_ranks(points[order] * 3 - 1), non_dominated_ranks(points)[order])


def test_equal_points_share_the_front():
    assert non_dominated_ranks(np.ones((3, 2))).tolist() == [0, 0, 0]


def test_crowding_by_hand():
    # first objective runs from 0 to 10, second from 8 to 0; the middle ones see (4 - 0)/10 + (8 - 2)/8 = 1.15
    # and (10 - 1)/10 + (5 - 0)/8 = 1.525
    front = np.array([[4.0, 2.0], [0.0, 8.0], [10.0, 0.0], [1.0, 5.0]])
    np.testing.assert_allclose(crowding_distance(front), [1.525, np.inf, np.inf, 1.15])


def test_an_objective_without_spread_adds_nothing():
    front = np.array([[3.0, 0.0], [3.0, 1.0], [3.0, 4.0]])
    np.testing.assert_allclose(crowding_distance(front), [np.inf, 1.0, np.inf])
    assert crowding_distance(np.ones((4, 2))).tolist() == [0.0] * 4
    assert crowding_distance(np.ones((0, 2))).tolist() == []


@pytest.mark.parametrize("wrong", [np.array([[np.nan, 1.0]]), np.array([1.0, 2.0])])
def test_what_are_no_points_is_refused(wrong):
    with pytest.raises(ValueError, match=r"shape \(n, m\)"):
        non_dominated_ranks(wrong)
