from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from automl_kd.samplers import Exhausted, Feasible, Screened
from automl_kd.samplers.proxy_filter import best_position
from automl_kd.space import Architecture
from tests.samplers.test_feasible import Counter, number
from tests.samplers.toy import bits, complete


def closeness_to_five(architectures: Sequence[Architecture]) -> list[float]:
    return [-abs(number(one) - 5.0) for one in architectures]


def test_the_best_of_each_draws_own_pool():
    inner = Counter()
    screened = Screened(inner, closeness_to_five, pool=4)
    assert number(screened.ask(2)) == 3
    assert number(screened.ask(2, draw=1)) == 5
    assert inner.asked == [(2, draw) for draw in range(8)]


@pytest.mark.parametrize(
    ("scores", "best"),
    [([1.0, 3.0, 3.0], 1), ([math.nan, -9.0], 1), ([math.nan, math.nan], 0), ([-math.inf, -1.0], 1)],
)
def test_the_first_of_equals_and_nan_last(scores, best):
    assert best_position(scores) == best


def test_scored_once_until_something_is_told():
    calls = []

    def score(architectures):
        calls.append(len(architectures))
        return closeness_to_five(architectures)

    inner = Counter()
    screened = Screened(inner, score, pool=2)
    assert screened.ask(7) == screened.ask(7)
    assert calls == [2]
    screened.tell(0, bits(0, 0, 0), complete())
    screened.ask(7)
    assert calls == [2, 2]
    assert inner.told == [0]


def test_repeated_candidates_are_scored_once():
    class Twins(Counter):
        def ask(self, index, draw=0):
            return Architecture.of({"draw": draw // 2})

    sizes = []

    def score(architectures):
        sizes.append(len(architectures))
        return closeness_to_five(architectures)

    Screened(Twins(), score, pool=6).ask(0)
    assert sizes == [3]


def test_a_pool_that_cannot_be_filled():
    # of each 2 candidates of the inner sampler 1 must be below 3: draws 0-1 and 2-3 have one, 4-5 have none
    few = Feasible(Counter(), lambda one: number(one) < 3, attempts=2)
    assert number(Screened(few, closeness_to_five, pool=20).ask(0)) == 2
    none = Feasible(Counter(), lambda one: False, attempts=2)
    with pytest.raises(Exhausted):
        Screened(none, closeness_to_five, pool=20).ask(0)


def test_wrong_use_is_refused():
    with pytest.raises(ValueError, match="pool must be at least 1"):
        Screened(Counter(), closeness_to_five, pool=0)
    with pytest.raises(ValueError, match="a score of 3 architectures returned 1 numbers"):
        Screened(Counter(), lambda pool: [1.0], pool=3).ask(0)
