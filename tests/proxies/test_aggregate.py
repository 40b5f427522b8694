from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl_kd.errors import UnknownNameError
from automl_kd.proxies import aggregate_of, expand_proxies
from automl_kd.proxies.aggregate import Aggregate, Operand, RankTerm, merged, parse_aggregate

NAN = math.nan


def test_rank_sum_by_hand():
    # Ranks 1, 2.5, 2.5 (a tie) and 3, 1, 2.
    values = np.array([[0.1, 0.5, 0.5], [9.0, -3.0, 0.0]])
    assert Aggregate("rank_sum", ("a", "b")).combine(values).tolist() == [4.0, 3.5, 4.5]


def test_log_rank_sum_by_hand():
    # Ranks over m = 2: (1/2, 2/2) and (2/2, 1/2); a low rank anywhere costs log 2.
    values = np.array([[1.0, 2.0], [5.0, 4.0]])
    found = Aggregate("log_rank_sum", ("a", "b")).combine(values)
    np.testing.assert_allclose(found, [-math.log(2), -math.log(2)])


def test_what_failed_under_one_member_is_not_ranked_under_another():
    values = np.array([[1.0, 2.0, 3.0], [4.0, NAN, 5.0]])
    found = Aggregate("rank_sum", ("a", "b")).combine(values)
    assert found[[0, 2]].tolist() == [2.0, 4.0]
    assert math.isnan(found[1])


def test_written_out():
    assert parse_aggregate("rank_sum(naswot+synflow)") == Aggregate("rank_sum", ("naswot", "synflow"))
    assert parse_aggregate("log_rank_sum( naswot + macs )") == Aggregate("log_rank_sum", ("naswot", "macs"))
    assert parse_aggregate("naswot") is None
    assert parse_aggregate("rank_sum(naswot") is None
    assert str(parse_aggregate("rank_sum(naswot+synflow)")) == "rank_sum(naswot+synflow)"


def test_members_are_looked_up():
    assert expand_proxies(["rank_sum(naswot+macs)", "macs"]) == ("naswot", "macs")
    assert aggregate_of("diswot") is not None
    with pytest.raises(UnknownNameError, match="no proxy is called 'naswott'; did you mean 'naswot'"):
        expand_proxies(["rank_sum(naswott+macs)"])


def test_weights_by_hand():
    # Ranks 1, 2, 3, twice: 2, 4, 6. Ranks 3, 1, 2, downwards 1, 3, 2, half of them: 0.5, 1.5, 1.
    values = np.array([[0.1, 0.5, 0.7], [9.0, -3.0, 0.0]])
    found = parse_aggregate("rank_sum(2*a-0.5*b)")
    assert found is not None
    assert found.combine(values).tolist() == [2.5, 5.5, 7.0]


def test_a_negative_weight_is_the_rank_of_the_negative():
    # Downwards over m = 3: ranks 3, 2, 1, so 0.5 (log 1, log 2/3, log 1/3).
    values = np.array([[-1.0, 0.0, 4.0]])
    found = parse_aggregate("log_rank_sum(-0.5*a)")
    assert found is not None
    np.testing.assert_allclose(found.combine(values), 0.5 * np.log([1, 2 / 3, 1 / 3]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Ranks of a: 1, 2, 3, 4; of b: 4, 3, 1, 2, and downwards 1, 2, 4, 3.
        ("rank_sum(min(a;b))", [1, 2, 1, 2]),
        ("rank_sum(max(a;b))", [4, 3, 3, 4]),
        ("rank_sum(min(a;-b))", [1, 2, 3, 3]),
        ("rank_sum(min(-a;-b))", [1, 2, 2, 1]),
        ("rank_sum(min(a;0.5))", [1, 2, 2, 2]),
        ("rank_sum(max(a;0.5))", [2, 2, 3, 4]),
        ("rank_sum(-min(a;b))", [4, 3, 4, 3]),
    ],
)
def test_bounds_by_hand(text, expected):
    found = parse_aggregate(text)
    assert found is not None
    values = np.array([[1.0, 2.0, 3.0, 4.0], [9.0, 8.0, 1.0, 2.0]])[: len(found.members)]
    np.testing.assert_allclose(found.combine(values), expected, rtol=1e-12)


def test_members_of_a_formula_are_each_scored_once():
    found = parse_aggregate("log_rank_sum(2*a-min(b;-a)+max(c;0.5))")
    assert found is not None
    assert found.members == ("a", "b", "c")
    assert expand_proxies(["log_rank_sum(2*naswot-0.5*min(macs;-naswot))"]) == ("naswot", "macs")


@pytest.mark.parametrize(
    "text",
    [
        "rank_sum()",
        "rank_sum(a++b)",
        "rank_sum(a b+)",
        "rank_sum(0*a)",
        "rank_sum(2a*b*c)",
        "rank_sum(min(a))",
        "rank_sum(min(a;b)",
        "rank_sum(0.5)+a",
        "mean(a+b)",
    ],
)
def test_what_is_no_aggregate(text):
    assert parse_aggregate(text) is None


def test_a_term_without_weight_is_refused():
    with pytest.raises(ValueError, match="a weight must be a number other than 0"):
        RankTerm(Operand("a"), 0.0)


def test_equal_terms_become_one_and_opposite_ones_stay():
    a, down = RankTerm(Operand("a")), RankTerm(Operand("a"), -2.0)
    assert merged([down, a, RankTerm(Operand("b")), a]) == (RankTerm(Operand("a"), 2.0), RankTerm(Operand("b")), down)


NAMES = st.sampled_from(["naswot", "macs", "zen", "my_lab.proxies:MINE"])
OPERANDS = st.builds(Operand, NAMES, st.booleans())
WEIGHTS = st.sampled_from([-2.0, -0.5, 0.25, 1.0, 3.0])
TERMS = st.builds(RankTerm, st.builds(Operand, NAMES), WEIGHTS) | st.builds(
    RankTerm, OPERANDS, WEIGHTS, st.sampled_from(["min", "max"]), OPERANDS | st.sampled_from([0.25, 0.5])
)


@given(st.sampled_from(["rank_sum", "log_rank_sum"]), st.lists(TERMS, min_size=1, max_size=5, unique=True))
def test_what_is_written_is_read_again(kind, terms):
    written = Aggregate(kind, tuple(terms))
    found = parse_aggregate(str(written))
    assert found is not None
    assert (found.kind, found.parts) == (kind, written.parts)


@given(st.lists(TERMS, min_size=1, max_size=4), st.integers(2, 20), st.integers(0, 1000))
def test_only_ranks_count(terms, size, seed):
    aggregate = Aggregate("log_rank_sum", tuple(terms))
    values = np.random.default_rng(seed).normal(size=(len(aggregate.members), size))
    # exp keeps the order of all values
    np.testing.assert_array_equal(aggregate.combine(values), aggregate.combine(np.exp(values)))
    assert (aggregate.combine(values) <= 1e-12).all()
