from __future__ import annotations

import numpy as np
import pytest

from automl_kd.errors import ConfigError
from automl_kd.samplers import Sampler, SearchObjective, make_sampler
from automl_kd.samplers.history import Observation
from automl_kd.samplers.nsga2 import NSGA2, binary_tournament, crowded_order
from automl_kd.space import Scalar
from tests.samplers.toy import BITS, SEPARABLE, bits, complete, distance

GOALS = [SearchObjective.parse("val_accuracy"), SearchObjective.parse("-params")]


def told(index: int, *losses: float, stopped: int | None = None) -> Observation:
    return Observation(index, bits(0, 0, 0), losses, stopped)


def test_rank_first_then_the_emptier_surroundings():
    # front of four: ends 0 and 3, then 2 (neighbours far apart) before 1; then the dominated 4
    ordered = crowded_order([told(4, 9, 9), told(1, 1, 5), told(0, 0, 8), told(2, 4, 2), told(3, 10, 0)])
    assert {one.index for one in ordered[:2]} == {0, 3}
    assert [one.index for one in ordered[2:]] == [2, 1, 4]


def test_what_was_stopped_comes_last_and_the_earliest_stopped_very_last():
    ordered = crowded_order([told(0, 0, 0, stopped=2), told(1, 1, 1, stopped=5), told(2, 9, 9)])
    assert [one.index for one in ordered] == [2, 1, 0]


def test_the_better_of_two_wins():
    # of nine pairs of three, the worst wins against itself alone, the best in 9 - 4 = 5; standard errors are 8 and 12
    parents = [bits(0, 0, 0), bits(0, 0, 1), bits(1, 1, 1)]
    rng = np.random.default_rng(0)
    wins = [binary_tournament(parents, rng) for _ in range(600)]
    assert 600 * 1 / 9 - 32 < wins.count(bits(1, 1, 1)) < 600 * 1 / 9 + 32
    assert 600 * 5 / 9 - 48 < wins.count(bits(0, 0, 0)) < 600 * 5 / 9 + 48


def test_children_of_the_front():
    sampler = make_sampler("nsga2", BITS, objectives=GOALS, seed=0, options={"population": 2})
    assert len({sampler.ask(0, draw) for draw in range(100)}) == 8
    sampler.tell(0, bits(0, 0, 0), complete(val_accuracy=0.2, params=1.0))
    sampler.tell(1, bits(0, 0, 1), complete(val_accuracy=0.9, params=5.0))
    sampler.tell(2, bits(1, 1, 1), complete(val_accuracy=0.1, params=9.0))
    # parents agree in a = b = 0, so one mutation turns at most one of these two
    children = {sampler.ask(3, draw) for draw in range(100)}
    assert children == {bits(0, 0, 0), bits(0, 0, 1), bits(1, 0, 0), bits(1, 0, 1), bits(0, 1, 0), bits(0, 1, 1)}


@pytest.mark.parametrize(("crossover", "reached"), [(0, 6), (1, 8)])
def test_crossover_reaches_what_one_mutation_does_not(crossover, reached):
    # a mutant of (0, 0, 0) or (1, 1, 1) is neither; a mutant of a mixture such as (1, 0, 0) may be either
    sampler = make_sampler("nsga2", BITS, objectives=GOALS, seed=0, options={"population": 2, "crossover": crossover})
    sampler.tell(0, bits(0, 0, 0), complete(val_accuracy=0.2, params=1.0))
    sampler.tell(1, bits(1, 1, 1), complete(val_accuracy=0.9, params=5.0))
    assert len({sampler.ask(2, draw) for draw in range(200)}) == reached


def area(sampler: Sampler, trials: int) -> float:
    """The share of [0, 3] x [1, 16] that the front covers: nearness to the best point, against depth."""
    found = []
    for index in range(trials):
        architecture = sampler.ask(index)
        depth = architecture.as_dict()["depth"]
        assert isinstance(depth, int)
        sampler.tell(index, architecture, complete(val_accuracy=-distance(architecture), params=depth))
        found.append((distance(architecture), depth))
    best = [min([d for d, depth in found if depth <= limit], default=3.0) for limit in range(1, 17)]
    return float(np.mean([1 - d / 3 for d in best]))


def test_a_better_front_than_random_search():
    def mean(name: str, options: dict[str, Scalar]) -> float:
        samplers = [make_sampler(name, SEPARABLE, objectives=GOALS, seed=seed, options=options) for seed in range(10)]
        return float(np.mean([area(sampler, 80) for sampler in samplers]))

    assert 1 - mean("nsga2", {"population": 10}) < 0.9 * (1 - mean("random", {}))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"population": 1}, "population .* is 1; choose at least 2"), ({"crossover": -0.1}, "crossover .* is -0.1")],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        make_sampler("nsga2", BITS, objectives=GOALS, seed=0, options=options)


def test_no_objective_is_refused():
    with pytest.raises(ConfigError, match="got no objective"):
        NSGA2(BITS, [], 0)
