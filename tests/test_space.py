"""Spaces as data: sampling, mutation, crossing, counting, checking and keys, for spaces of every kind of parameter."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from automl_kd.errors import InfeasibleArchitectureError
from automl_kd.space import (
    Architecture,
    Choice,
    Domain,
    FloatRange,
    InputShape,
    IntRange,
    Parameter,
    SearchSpace,
    Values,
    When,
    check_architecture,
    complete,
    count_points,
    cross,
    domain_size,
    draw_from_domain,
    enumerate_all,
    mutate,
    sample_architecture,
    step,
)


def build(_values: Values, _shape: InputShape) -> nn.Module:
    return nn.Identity()


def space_of(parameters: dict[str, Parameter], default: Values) -> SearchSpace:
    return SearchSpace(name="test", source="none", parameters=parameters, build=build, default=default)


# Every kind of domain, and a chain of conditions: `ratio` needs a bottleneck, `fine` needs ratio 4.
SPACE = space_of(
    {
        "block": Parameter(Choice(("basic", "bottleneck"))),
        "ratio": Parameter(Choice((2, 4)), When("block", ("bottleneck",))),
        "fine": Parameter(IntRange(0, 6, 3), When("ratio", (4,))),
        "depth": Parameter(IntRange(1, 3)),
        "rate": Parameter(FloatRange(1e-4, 1e-1, log=True)),
        "dropout": Parameter(FloatRange(0.0, 0.5)),
        "fixed": Parameter(Choice((True,))),
    },
    {"block": "basic", "depth": 2, "rate": 1e-2, "dropout": 0.1, "fixed": True},
)
FINITE = space_of(
    {
        "block": Parameter(Choice(("basic", "bottleneck"))),
        "ratio": Parameter(Choice((2, 4)), When("block", ("bottleneck",))),
        "fine": Parameter(IntRange(0, 6, 3), When("ratio", (4,))),
        "depth": Parameter(IntRange(1, 3)),
    },
    {"block": "basic", "depth": 1},
)
seeds = st.integers(0, 2**32 - 1)


@given(seeds)
def test_samples_mutants_and_crossings_are_members(seed):
    rng = np.random.default_rng(seed)
    one, two = sample_architecture(SPACE, rng), sample_architecture(SPACE, rng)
    for point in (one, mutate(SPACE, one, rng), mutate(SPACE, mutate(SPACE, one, rng), rng)):
        check_architecture(SPACE, point)
    check_architecture(SPACE, cross(SPACE, one, two, rng))


@given(seeds)
def test_the_same_seed_gives_the_same_points(seed):
    def walk() -> list[Architecture]:
        rng = np.random.default_rng(seed)
        one, two = sample_architecture(SPACE, rng), sample_architecture(SPACE, rng)
        return [one, two, mutate(SPACE, one, rng), cross(SPACE, one, two, rng)]

    assert walk() == walk()


@given(seeds)
def test_a_mutant_of_a_finite_space_differs_in_one_parameter_and_what_hangs_on_it(seed):
    rng = np.random.default_rng(seed)
    parent = sample_architecture(FINITE, rng)
    child = mutate(FINITE, parent, rng)
    before, after = parent.as_dict(), child.as_dict()
    assert child != parent
    assert len([name for name in before if name in after and before[name] != after[name]]) == 1
    # Whatever came or went hangs on the block or the ratio.
    assert set(before) ^ set(after) <= {"ratio", "fine"}


@given(seeds)
def test_a_crossing_takes_every_value_from_a_parent(seed):
    rng = np.random.default_rng(seed)
    one, two = sample_architecture(SPACE, rng), sample_architecture(SPACE, rng)
    for name, value in cross(SPACE, one, two, rng).values:
        assert value in (one.as_dict().get(name), two.as_dict().get(name))


def test_both_parents_are_heard():
    one, two = (Architecture.of({"block": "basic", "depth": depth}) for depth in (1, 3))
    depths = Counter(cross(FINITE, one, two, np.random.default_rng(seed)).as_dict()["depth"] for seed in range(200))
    assert set(depths) == {1, 3}
    assert min(depths.values()) > 60


def test_a_point_crossed_with_itself_is_itself():
    point = Architecture.of(FINITE.default)
    assert cross(FINITE, point, point, np.random.default_rng(0)) == point


@given(st.dictionaries(st.text(max_size=3), st.integers() | st.booleans() | st.text(max_size=3)), st.randoms())
def test_keys_do_not_depend_on_the_order_of_values(values, random):
    items = list(values.items())
    random.shuffle(items)
    assert Architecture.of(dict(items)).key == Architecture.of(values).key
    assert Architecture.of(dict(items)) == Architecture.of(values)


def test_a_key_is_twelve_hex_digits_that_stay():
    # sha256 of [["depth", 2]], begun
    assert Architecture.of({"depth": 2}).key == "d8de9778252f"


def test_keys_tell_types_apart():
    assert len({Architecture.of({"a": value}).key for value in (1, True, 1.0, "1")}) == 4


def test_all_points_of_a_finite_space_by_hand():
    # basic: 3 depths; bottleneck: ratio 2 (1) or ratio 4 with 3 values of fine, each with 3 depths
    found = list(enumerate_all(FINITE))
    assert len(found) == len(set(found)) == 3 + (1 + 3) * 3
    for point in found:
        check_architecture(FINITE, point)
    assert found[0] == Architecture.of({"block": "basic", "depth": 1})
    assert found[1] == Architecture.of({"block": "basic", "depth": 2})


def test_sampling_reaches_every_point():
    rng = np.random.default_rng(0)
    assert {sample_architecture(FINITE, rng) for _ in range(600)} == set(enumerate_all(FINITE))


def test_mutation_reaches_every_point():
    rng, point, seen = np.random.default_rng(0), Architecture.of(FINITE.default), set()
    for _ in range(600):
        point = mutate(FINITE, point, rng)
        seen.add(point)
    assert seen == set(enumerate_all(FINITE))


def test_points_are_counted_without_being_made():
    assert count_points(FINITE) == len(list(enumerate_all(FINITE)))
    assert count_points(SPACE) == np.inf
    wide = {f"p{place}": Parameter(IntRange(0, 10**9 - 1)) for place in range(3)}
    child = {"child": Parameter(Choice((1, 2, 3)), When("p0", (4, 7)))}
    grandchild = {"grandchild": Parameter(Choice(("a", "b")), When("child", (2,)))}
    large = dataclasses.replace(FINITE, parameters=wide | child | grandchild, default=dict.fromkeys(wide, 0))
    assert count_points(large) == (10**9 - 2 + 2 * 4) * 10**18


def test_a_real_space_cannot_be_enumerated():
    with pytest.raises(ValueError, match="real-valued"):
        next(enumerate_all(SPACE))


def test_a_space_without_choice_mutates_to_itself():
    space = space_of({"fixed": Parameter(Choice((1,)))}, {"fixed": 1})
    point = Architecture.of({"fixed": 1})
    assert mutate(space, point, np.random.default_rng(0)) == point


@pytest.mark.parametrize(
    "domain", [FloatRange(1e-4, 1e-1, log=True), FloatRange(-1.0, 2.0), IntRange(0, 9, 3), IntRange(0, 2**62)]
)
def test_draws_and_steps_stay_inside(domain: Domain):
    rng = np.random.default_rng(0)
    value = draw_from_domain(domain, rng)
    for _ in range(300):
        value = step(domain, value, rng)
        assert value in domain


def test_a_logarithmic_range_is_drawn_evenly_in_its_logarithm():
    # half of the draws from [1e-4, 1] lie below 1e-2
    rng = np.random.default_rng(0)
    low = [draw_from_domain(FloatRange(1e-4, 1.0, log=True), rng) for _ in range(2_000)]
    assert sum(float(value) < 1e-2 for value in low) == pytest.approx(1_000, abs=100)


def test_sizes():
    assert domain_size(Choice((1, 2))) == 2
    assert domain_size(IntRange(1, 10, 4)) == 3
    assert domain_size(IntRange(1, 2**62)) == 2**62  # counted, not listed
    assert math.isinf(domain_size(FloatRange(0.0, 1.0)))


def test_membership_is_strict_about_types():
    assert True not in Choice((1, 2))
    assert 1 not in Choice((True,))
    assert 1.0 not in IntRange(1, 3)
    assert 1 not in FloatRange(0.0, 2.0)
    assert 4 not in IntRange(1, 5, 2)
    assert 5 in IntRange(1, 5, 2)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Choice(()), "distinct options"),
        (lambda: Choice((1, 1)), "distinct options"),
        (lambda: IntRange(2, 1), "low <= high"),
        (lambda: IntRange(1, 2, 0), "step >= 1"),
        (lambda: FloatRange(1.0, 1.0), "low < high"),
        (lambda: FloatRange(0.0, 1.0, log=True), "0 < low"),
    ],
)
def test_domains_without_sense(make, said):
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"depth": 1}, "needs a value for 'block'"),
        ({"block": "basic"}, "needs a value for 'depth'"),
        ({"block": "bottleneck", "depth": 1}, "needs a value for 'ratio'"),
        ({"block": "basic", "depth": 1, "ratio": 2}, "no active parameter 'ratio'"),
        ({"block": "basic", "depth": 1, "colour": "red"}, "no active parameter 'colour'"),
        ({"block": "basic", "depth": 4}, "depth = 4 lies outside"),
        ({"block": "basic", "depth": True}, "depth = True lies outside"),
        ({"block": "bottleneck", "ratio": 2, "depth": 1, "fine": 0}, "no active parameter 'fine'"),
    ],
)
def test_points_outside_say_why(values, said):
    with pytest.raises(InfeasibleArchitectureError, match=said):
        check_architecture(FINITE, Architecture.of(values))


def test_spaces_without_sense():
    child = {"child": Parameter(Choice((1, 2)), When("parent", (1,))), "parent": Parameter(Choice((1, 2)))}
    with pytest.raises(ValueError, match="'child' must come after its parent 'parent'"):
        space_of(child, {"parent": 2})
    with pytest.raises(InfeasibleArchitectureError):
        space_of({"depth": Parameter(IntRange(1, 3))}, {"depth": 4})


def test_completion_keeps_what_is_given_and_drops_what_cannot_be():
    rng = np.random.default_rng(0)
    kept = complete(FINITE, {"block": "basic", "ratio": 4, "depth": 3}, rng)
    assert kept == Architecture.of({"block": "basic", "depth": 3})
    grown = complete(FINITE, {"block": "bottleneck", "depth": 3}, rng).as_dict()
    assert grown["ratio"] in (2, 4)


def test_labels():
    assert FINITE.label(Architecture.of({"depth": 1, "block": "basic"})) == "block=basic depth=1"


def test_every_pair_of_distinct_points_has_distinct_keys():
    keys = [point.key for point in enumerate_all(FINITE)]
    assert all(one != two for one, two in itertools.combinations(keys, 2))
