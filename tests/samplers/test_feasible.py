from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from automl_kd.samplers import Exhausted, Feasible, SearchObjective, make_sampler
from automl_kd.space import Architecture
from tests.samplers.toy import BITS, bits, complete, ones


@dataclass
class Counter:
    """Proposes the number of the draw, and writes down what it is asked and told."""

    asked: list[tuple[int, int]] = field(default_factory=list)
    told: list[int] = field(default_factory=list)

    def ask(self, index, draw=0):
        self.asked.append((index, draw))
        return Architecture.of({"draw": draw})

    def tell(self, index, architecture, outcome):
        self.told.append(index)


def number(architecture: Architecture) -> int:
    draw = architecture.as_dict()["draw"]
    assert isinstance(draw, int)
    return draw


def test_the_first_allowed_of_each_draws_own_attempts():
    inner = Counter()
    feasible = Feasible(inner, lambda one: number(one) % 5 == 2, attempts=10)
    assert [number(feasible.ask(6, draw)) for draw in range(3)] == [2, 12, 22]
    assert inner.asked == [(6, draw) for draw in (0, 1, 2, 10, 11, 12, 20, 21, 22)]


def test_exhausted_after_its_attempts():
    inner = Counter()
    with pytest.raises(Exhausted, match="none of 10 candidates for proposal 6 was allowed; widen the budget"):
        Feasible(inner, lambda one: False, attempts=10).ask(6)
    assert len(inner.asked) == 10


def test_outcomes_pass_through():
    inner = Counter()
    Feasible(inner, lambda one: True).tell(4, bits(0, 0, 0), complete())
    assert inner.told == [4]


@pytest.mark.parametrize("name", ["random", "local", "evolution", "tpe", "nsga2"])
def test_a_small_space_is_searched_to_its_last_point(name):
    options = {"evolution": {"population": 3}, "nsga2": {"population": 3}, "tpe": {"startup": 3}}.get(name, {})
    inner = make_sampler(name, BITS, objectives=[SearchObjective.parse("-loss")], seed=0, options=options)
    seen: set[Architecture] = set()
    feasible = Feasible(inner, lambda one: one not in seen)
    for index in range(8):
        architecture = feasible.ask(index)
        seen.add(architecture)
        feasible.tell(index, architecture, complete(loss=ones(architecture)))
    assert len(seen) == 8
    with pytest.raises(Exhausted):
        feasible.ask(8)


def test_no_attempts_are_refused():
    with pytest.raises(ValueError, match="attempts must be at least 1"):
        Feasible(Counter(), lambda one: True, attempts=0)
