"""Who takes over whose weights, and what values come of it."""

from __future__ import annotations

import numpy as np
import pytest

from automl_kd.samplers.population import Member, draw_value, evolve, from_unit, perturb, to_unit
from automl_kd.space import FloatRange

LINEAR, LOG = FloatRange(1.0, 3.0), FloatRange(0.01, 1.0, log=True)
RANGES = {"a": LINEAR, "b": LOG}


def members(count: int) -> list[Member]:
    return [Member(((0, {"a": 1.0 + index}),)) for index in range(count)]


def changed(scores, quantile=0.25, seed=0, explore=None, before=None) -> list[Member]:
    explore = explore or (lambda giver, chosen, rng: {"a": 100.0 * giver + len(chosen)})
    before = before or members(len(scores))
    keys = [f"k{index}" for index in range(len(scores))]
    return evolve(before, scores, keys, explore, epoch=2, quantile=quantile, seed=seed)


def test_the_worst_quarter_takes_over_from_the_best_by_hand():
    before, after = members(4), changed([0.3, 0.1, 0.9, 0.5])
    assert [one for index, one in enumerate(after) if index != 1] == [before[0], before[2], before[3]]
    assert after[1] == Member(((0, {"a": 3.0}), (2, {"a": 200.0})), ((2, 2, "k2"),))


def test_of_equal_ones_the_lower_number_is_better():
    assert [bool(one.lineage) for one in changed([0.5, 0.5, 0.5, 0.5])] == [False, False, False, True]
    assert changed([0.5, 0.5, 0.5, 0.5])[3].lineage == ((2, 0, "k0"),)


@pytest.mark.parametrize(
    ("count", "quantile", "takers"), [(2, 0.25, 1), (3, 0.5, 1), (5, 0.5, 2), (8, 0.25, 2), (9, 0.25, 3), (1, 0.5, 0)]
)
def test_how_many_take_over(count, quantile, takers):
    after = changed([float(index) for index in range(count)], quantile)
    assert [bool(one.lineage) for one in after] == [index < takers for index in range(count)]


def test_one_that_failed_neither_gives_nor_takes_and_is_out():
    after = changed([None, 0.1, 0.2, None])
    assert [one.alive for one in after] == [False, True, True, False]
    assert [one.lineage for one in after] == [(), ((2, 2, "k2"),), (), ()]
    assert all(one.alive is False or not one.lineage for one in changed([None, None, 0.3, None]))


def test_what_was_taken_over_before_is_inherited():
    giver = Member(((0, {"a": 1.0}), (1, {"a": 2.0})), ((1, 7, "old"),))
    after = changed([0.1, 0.9], before=[*members(1), giver])
    assert after[0].history == (*giver.history, (2, {"a": 100.0}))
    assert after[0].lineage == ((1, 7, "old"), (2, 1, "k1"))


def test_no_two_members_become_the_same():
    tried = iter([{"a": 1.0}, {"a": 1.0}, {"a": 1.0}, {"a": 2.0}])
    after = changed([0.1, 0.2, 0.9, 0.8], quantile=0.5, explore=lambda *_: next(tried), seed=3)
    lines = [one.history for one in after]
    assert all(lines.count(one) == 1 for one in lines)


def test_the_same_seed_changes_a_population_in_the_same_way():
    def explore(giver, chosen, rng):
        return {"a": float(rng.random())}

    scores = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    assert changed(scores, explore=explore, seed=5) == changed(scores, explore=explore, seed=5)
    assert changed(scores, explore=explore, seed=5) != changed(scores, explore=explore, seed=6)


def test_values_are_multiplied_or_drawn_and_stay_in_their_range():
    moved = [perturb({"a": 2.0, "b": 0.011}, RANGES, 0.0, np.random.default_rng(seed)) for seed in range(50)]
    assert {round(one["a"], 9) for one in moved} == {1.6, 2.4}
    assert {round(one["b"], 9) for one in moved} == {0.01, 0.0132}  # 0.0088 would lie below the range
    drawn = [perturb({"a": 2.0, "b": 0.1}, RANGES, 1.0, np.random.default_rng(seed)) for seed in range(50)]
    assert len({one["a"] for one in drawn}) == 50
    assert all(one[name] in domain for one in moved + drawn for name, domain in RANGES.items())


def test_shares_of_a_range_by_hand():
    assert (from_unit(LINEAR, 0.25), to_unit(LINEAR, 1.5)) == (1.5, 0.25)
    assert from_unit(LOG, 0.5) == pytest.approx(0.1)
    assert to_unit(LOG, 0.1) == pytest.approx(0.5)
    assert (from_unit(LOG, 0.0), from_unit(LOG, 1.0)) == pytest.approx((0.01, 1.0))


def test_draws_fill_the_range_on_its_scale():
    rng = np.random.default_rng(0)
    drawn = [draw_value(LOG, rng) for _ in range(2000)]
    assert np.mean(np.array(drawn) < 0.1) == pytest.approx(0.5, abs=0.05)
