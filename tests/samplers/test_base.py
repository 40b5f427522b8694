from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl_kd.errors import ConfigError
from automl_kd.samplers.base import SearchObjective, candidate_generator, require_single


@pytest.mark.parametrize(("text", "loss"), [("val_accuracy", -2.0), ("-params", 2.0)])
def test_a_leading_minus_wants_less(text, loss):
    objective = SearchObjective.parse(text)
    assert objective.loss(2.0) == loss
    assert str(objective) == text


@pytest.mark.parametrize("text", ["", "-", "--params", "- params", " params"])
def test_what_is_no_objective_is_refused(text):
    with pytest.raises(ConfigError, match="is not an objective; write a metric's name"):
        SearchObjective.parse(text)


def test_no_objective_is_refused():
    with pytest.raises(ConfigError, match="'local' follows one objective, got none"):
        require_single([], "local")


@given(st.lists(st.tuples(*[st.integers(0, 2**40)] * 3), unique=True, min_size=2, max_size=2))
def test_each_candidate_has_randomness_of_its_own(triples):
    one, other = (candidate_generator(*triple).integers(2**62, size=3).tolist() for triple in triples)
    assert one != other
    assert one == candidate_generator(*triples[0]).integers(2**62, size=3).tolist()
