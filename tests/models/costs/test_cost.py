from __future__ import annotations

import pytest
import torch
from torch import nn

from automl_kd.errors import InfeasibleArchitectureError
from automl_kd.models import build_model
from automl_kd.models.costs.cost import NetworkCost, blank_inputs, cost_of, cost_of_build, count_cost
from automl_kd.space import Architecture, Choice, InputShape, Parameter, SearchSpace, Values
from search_spaces.resnet_depth import SPACE

CIFAR = InputShape(3, 32, 32, 10)


def test_by_hand():
    # 3x3 convolution, 2 to 4 channels, 5x6 outputs: 72 weights, 72 * 30 multiply-adds; then 120 to 3, with bias
    shape = InputShape(2, 5, 6, 3)
    model = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(120, 3))
    assert count_cost(model, shape) == NetworkCost(params=72 + 8 + 363, macs=72 * 30 + 360)


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [("resnet20", 0.27e6, 41e6), ("resnet110", 1.7e6, 255e6), ("wrn-16-2", 0.70e6, 101e6)],
)
def test_known_networks(name, params, macs):
    # Published to two digits, some with shortcuts of the other kind.
    cost = count_cost(build_model(name, CIFAR), CIFAR)
    assert cost.params == pytest.approx(params, rel=0.02)
    assert cost.macs == pytest.approx(macs, rel=0.01)


def test_counting_leaves_the_model_as_it_was():
    model = build_model("resnet8", CIFAR)
    model.get_submodule("stage2").eval()
    modes = [module.training for module in model.modules()]
    state = {key: value.clone() for key, value in model.state_dict().items()}
    before = torch.get_rng_state()
    count_cost(model, CIFAR)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), before)


def test_modes_come_back_when_the_network_fails():
    model = nn.Linear(2, 2)
    with pytest.raises(RuntimeError):
        count_cost(model, CIFAR)
    assert model.training


def test_the_image_has_the_networks_type_and_device():
    assert blank_inputs(nn.Linear(1, 1).double(), CIFAR, batch=4).dtype == torch.float64
    assert blank_inputs(nn.Linear(1, 1, device="meta"), CIFAR).device.type == "meta"
    assert blank_inputs(nn.ReLU(), CIFAR, batch=4).shape == (4, 3, 32, 32)


def test_cost_of_a_point_is_that_of_its_network_and_draws_nothing():
    cost_of_build.cache_clear()
    before = torch.get_rng_state()
    cost = cost_of(SPACE, Architecture.of(SPACE.default), CIFAR)
    assert torch.equal(torch.get_rng_state(), before)
    assert cost == count_cost(build_model("resnet20", CIFAR), CIFAR)


def space_of_width(factor: int, calls: list[int]) -> SearchSpace:
    def build(values: Values, shape: InputShape) -> nn.Module:
        calls.append(factor)
        width = factor * int(values["width"])
        pixels = shape.channels * shape.height * shape.width
        return nn.Sequential(nn.Flatten(), nn.Linear(pixels, width), nn.Linear(width, shape.classes))

    return SearchSpace(
        name="same",
        source="test",
        parameters={"width": Parameter(Choice((1, 2)))},
        build=build,
        default={"width": 1},
    )


def test_costs_are_remembered_but_not_mixed_up_between_spaces_of_one_name():
    calls: list[int] = []
    one, two = space_of_width(1, calls), space_of_width(3, calls)
    point, shape = Architecture.of({"width": 2}), InputShape(1, 8, 8, 10)
    assert cost_of(one, point, shape).params == 65 * 2 + 3 * 10
    assert cost_of(two, point, shape).params == 65 * 6 + 7 * 10
    assert cost_of(one, point, shape).params == 65 * 2 + 3 * 10
    assert calls == [1, 3]


def test_a_point_outside_has_no_cost():
    with pytest.raises(InfeasibleArchitectureError):
        cost_of(SPACE, Architecture(()), CIFAR)
