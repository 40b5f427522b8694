"""Operations that a runtime fuses are one operator, and no multiply-add is lost on the way."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from automl_kd.models import load_space
from automl_kd.models.costs.cost import cost_of
from automl_kd.models.imagenet.mobile import BlockSize, MobileNet, MobilePlan
from automl_kd.models.resnet import ResNet
from automl_kd.profiling.operators import Operator, list_operators
from automl_kd.profiling.tracing import trace_architecture, trace_network
from automl_kd.space import Architecture, InputShape, sample_architecture
from tests import tiny

SHAPE = InputShape(3, 32, 32, 10)


def operators_in(model) -> list[Operator]:
    return [one.operator for one in list_operators(trace_network(model, SHAPE))]


def test_a_convolution_takes_in_its_norm_and_activation():
    trace = trace_architecture(tiny.SPACE, Architecture.of({"width": 4}), tiny.SHAPE)
    conv, pool, linear = [one.operator for one in list_operators(trace)]
    # 3x3 weights of 1 to 4 channels on 8x8 pixels
    assert conv == Operator("conv", ((1, 1, 8, 8),), (1, 4, 8, 8), 3, 1, 1, 36, 36 * 64, "relu")
    assert (pool.kind, pool.inputs, pool.output) == ("mean", ((1, 4, 8, 8),), (1, 4, 1, 1))
    assert (linear.kind, linear.weights, linear.macs) == ("linear", 15, 12)
    assert (conv.entering, conv.leaving) == (64, 256)


def test_an_addition_belongs_to_the_convolution_that_runs_last():
    found = operators_in(ResNet(SHAPE, [1, 1], [8, 8, 16]))
    # stem; a block with its identity; a block whose 1x1 shortcut runs after the body and is added to it
    assert [(one.kind, one.residual, one.activation) for one in found] == [
        ("conv", False, "relu"),
        ("conv", False, "relu"),
        ("conv", True, "relu"),
        ("conv", False, "relu"),
        ("conv", False, ""),
        ("pointwise", True, "relu"),
        ("mean", False, ""),
        ("linear", False, ""),
    ]


def test_an_inverted_residual_with_squeezing():
    plan = MobilePlan(stem=8, blocks=(BlockSize(8, 16, 5, 1, 8, "hardswish"),), head=16)
    kinds = Counter(one.kind for one in operators_in(MobileNet(SHAPE, plan)))
    # expand, project and head; two convolutions of one pixel, the gate as sum, clip, quotient and product
    assert kinds == {
        "conv": 1,
        "pointwise": 3,
        "depthwise": 1,
        "pixel": 2,
        "mean": 2,
        "linear": 1,
        "add": 1,
        "hardtanh": 1,
        "mul": 2,
    }


@pytest.mark.parametrize("space", ["mobile", "resnet", "resnet224", "vit", "nasbench201"])
def test_multiply_adds_are_those_that_are_counted(space):
    loaded = load_space(f"search_spaces.{space}:SPACE")
    for seed in range(3):
        drawn = sample_architecture(loaded, np.random.default_rng(seed))
        groups = list_operators(trace_architecture(loaded, drawn, SHAPE))
        assert sum(one.operator.macs for one in groups) == cost_of(loaded, drawn, SHAPE).macs


def test_a_record_gives_the_operator_again():
    for operator in operators_in(ResNet(SHAPE, [1], [8, 8])):
        assert Operator.from_record(operator.to_record()) == operator
    with pytest.raises(KeyError):
        Operator.from_record({"kind": "conv"})
