from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import Tensor

from automl_kd.bilevel.base import Problem
from automl_kd.bilevel.finite_difference import FiniteDifference
from automl_kd.bilevel.inner_step import SGD, InnerStep
from automl_kd.bilevel.unroll import Unroll
from tests.bilevel.problems import RULES, case, relative_error, resnet


def scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def exponential() -> tuple[Problem, dict[str, Tensor], dict[str, Tensor]]:
    """inner = h exp(w), outer = w, rate 0.1, w = 1/2: the answer is -0.1 exp(1/2)."""
    weights = {"w": scalar(0.5)}
    step = InnerStep.same(SGD(lr=0.1), weights)
    problem = Problem(loss=lambda at, h: h["h"] * at["w"].exp(), outer=lambda at, _: at["w"], step=step)
    return problem, weights, {"h": scalar(1.0)}


@pytest.mark.parametrize(("sides", "order"), [("central", 2), ("one", 1)])
def test_the_error_has_its_order(sides: Literal["central", "one"], order: int):
    exact = -0.1 * scalar(0.5).exp()
    errors = [float((FiniteDifference(sides, radius)(*exponential())["h"] - exact).abs()) for radius in (1e-2, 1e-3)]
    assert errors[0] / errors[1] == pytest.approx(10**order, rel=0.02)
    # With one side the leading error is radius / 2 times the second derivative, from both radius^2 / 6 the third.
    leading = 0.1 * scalar(0.5).exp() * (1e-4 / 6 if sides == "central" else 1e-2 / 2)
    assert errors[0] == pytest.approx(float(leading), rel=0.01)


@pytest.mark.parametrize(("sides", "radius", "error"), [("central", 1e-5, 1e-4), ("one", 1e-6, 1e-3)])
@pytest.mark.parametrize("rule", ["nesterov", "adam"])
def test_a_residual_network(sides: Literal["central", "one"], radius: float, error: float, rule: str):
    given = case(RULES[rule], resnet())
    wanted = Unroll()(given.problem, given.weights, given.hypers)
    found = FiniteDifference(sides, radius)(given.problem, given.weights, given.hypers)
    assert relative_error(found, wanted) < error


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match="radius must be above 0, got -1"):
        FiniteDifference(radius=-1.0)
