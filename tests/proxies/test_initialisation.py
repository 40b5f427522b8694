from __future__ import annotations

import torch
from torch import nn

from automl_kd.models import build_model
from automl_kd.proxies.initialisation import normal_weights
from automl_kd.seeds import derive
from tests.proxies.examples import COLOUR


def test_every_kind_of_tensor_gets_its_values():
    network = nn.Sequential(nn.Conv2d(8, 64, 3), nn.BatchNorm2d(64), nn.Linear(64, 10))
    for parameter in network.parameters():
        nn.init.constant_(parameter, 9)
    normal_weights(network, 0)
    tensors = network.state_dict()
    for name in ("0.weight", "2.weight"):
        assert abs(float(tensors[name].mean())) < 0.1
        assert abs(float(tensors[name].std()) - 1) < 0.1
    assert tensors["1.weight"].eq(1).all()
    assert all(tensors[f"{index}.bias"].eq(0).all() for index in range(3))


def test_equal_names_and_shapes_get_equal_weights_in_different_networks():
    shallow, deep = build_model("resnet8", COLOUR), build_model("resnet20", COLOUR)
    normal_weights(shallow, "student", 0)
    normal_weights(deep, "student", 0)
    common = dict(deep.named_parameters())
    assert all(torch.equal(parameter, common[name]) for name, parameter in shallow.named_parameters())


def test_streams_differ_and_repeat():
    drawn: dict[str, list[list[float]]] = {}
    for stream in (("student", 0), ("student", 1), ("teacher", 0)):
        one, other = nn.Linear(3, 3), nn.Linear(3, 3)
        normal_weights(nn.Sequential(one, other), *stream)
        assert one.weight.tolist() != other.weight.tolist()
        drawn[str(stream)] = one.weight.tolist()
    assert len({str(weight) for weight in drawn.values()}) == 3
    again = nn.Linear(3, 3)
    normal_weights(nn.Sequential(again), "student", 1)
    assert again.weight.tolist() == drawn["('student', 1)"]


def test_the_layout_in_memory_does_not_change_the_weights():
    plain, other = nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3).to(memory_format=torch.channels_last)
    for network in (plain, other):
        normal_weights(network, 0)
    assert torch.equal(plain.weight, other.weight)


def test_the_global_generator_is_not_touched():
    network = nn.Linear(3, 3)
    before = torch.get_rng_state()
    normal_weights(network, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_seeds_depend_on_every_part():
    assert len({derive(), derive(1), derive(1, 2), derive(12), derive("1", 2)}) == 5
    assert all(0 <= derive(number) < 2**63 for number in range(50))
