"""Formulas as a search space: points stand for aggregates, and every sampler can search them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl_kd.errors import InfeasibleArchitectureError
from automl_kd.nasbench.proxy_search.formula_space import formula, formula_space, is_short
from automl_kd.proxies.aggregate import parse_aggregate
from automl_kd.samplers import SAMPLERS, Feasible, SearchObjective, make_sampler
from automl_kd.space import Architecture, InputShape, check_architecture, mutate, sample_architecture
from automl_kd.spec import Outcome

NAMES = ("macs", "naswot", "zen")
SPACE = formula_space(NAMES, 3)
KENDALL = SearchObjective("kendall", maximise=True)


def point(**values: object) -> dict[str, object]:
    return {"kind": "rank_sum", "terms": sum(name.startswith("term") for name in values), **values}


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (point(term1="zen", weight1=1.0, form1="rank"), "rank_sum(zen)"),
        (point(term1="zen", weight1=-2.0, form1="low half"), "rank_sum(-2*min(zen;0.5))"),
        (point(term1="zen", weight1=0.5, form1="high half", kind="log_rank_sum"), "log_rank_sum(0.5*max(zen;0.5))"),
        (
            point(term1="zen", weight1=1.0, form1="min", bound1="macs", downwards1=True),
            "rank_sum(min(zen;-macs))",
        ),
        (point(term1="zen", weight1=1.0, form1="max", bound1="zen", downwards1=False), "rank_sum(zen)"),
        (point(term1="zen", weight1=1.0, form1="max", bound1="zen", downwards1=True), "rank_sum(max(zen;-zen))"),
        # The same statistic in two terms of one direction is one term of their weights' sum.
        (
            point(term1="zen", weight1=1.0, form1="rank", term2="zen", weight2=2.0, form2="rank"),
            "rank_sum(3*zen)",
        ),
        # Terms are in the order of what they hold, the downward ones last.
        (
            point(term1="zen", weight1=-1.0, form1="rank", term2="macs", weight2=1.0, form2="rank"),
            "rank_sum(macs-zen)",
        ),
    ],
)
def test_points_as_formulas(values, text):
    check_architecture(SPACE, Architecture.of(values))
    assert str(formula(values)) == text
    assert SPACE.label(Architecture.of(values)) == text


@given(st.integers(0, 10_000))
def test_every_point_is_a_formula_that_can_be_read_again(seed):
    rng = np.random.default_rng(seed)
    for one in (first := sample_architecture(SPACE, rng), mutate(SPACE, first, rng)):
        check_architecture(SPACE, one)
        found = formula(one.as_dict())
        read = parse_aggregate(str(found))
        assert read is not None
        assert read.parts == found.parts
        assert is_short(one, len(found.members))
        assert not is_short(one, len(found.members) - 1)


def test_a_formula_is_no_network():
    with pytest.raises(InfeasibleArchitectureError, match=r"rank_sum\(macs\) is a formula"):
        SPACE.build(SPACE.default, InputShape(3, 8, 8, 10))


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_proposer_searches_formulas_within_their_length(name):
    sampler = Feasible(
        make_sampler(name, SPACE, objectives=[KENDALL], seed=0, options={}), lambda one: is_short(one, 2)
    )
    for index in range(15):
        one = sampler.ask(index)
        check_architecture(SPACE, one)
        assert is_short(one, 2)
        value = float("nan") if index == 3 else float(len(str(formula(one.as_dict()))))
        sampler.tell(index, one, Outcome(status="complete", metrics={"kendall": value}, epoch=0))
