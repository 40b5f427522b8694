"""What a network does is listed from shapes, as its forward function says it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from automl_kd.errors import ConfigError, InfeasibleArchitectureError
from automl_kd.profiling.tracing import CONSTANT, TensorSlot, trace_architecture, trace_network
from automl_kd.space import Architecture, InputShape, SearchSpace
from tests import tiny

SHAPE = InputShape(3, 8, 8, 5)


def of_module(forward) -> SearchSpace:
    """A space of one network, whose forward function is given."""

    class Written(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 5, 3, padding=1), nn.Linear(5, 5)

        def forward(self, x):
            return forward(self, x)

    return SearchSpace("one", "here", {}, lambda _values, _shape: Written(), {})


def traced(forward):
    return trace_architecture(of_module(forward), Architecture(()), SHAPE)


def test_a_network_of_known_layers():
    trace = trace_architecture(tiny.SPACE, Architecture.of({"width": 4}), tiny.SHAPE, batch=2)
    names = [one.name for one in trace.operations]
    assert names == ["conv2d", "batch_norm", "relu", "adaptive_avg_pool2d", "flatten", "linear"]  # dropout does nothing
    assert trace.inputs == (TensorSlot(0, (2, 1, 8, 8)),)
    assert [one.output.shape for one in trace.operations] == [*[(2, 4, 8, 8)] * 3, (2, 4, 1, 1), (2, 4), (2, 3)]
    assert trace.outputs == (trace.operations[-1].output,)


class Odd(nn.Module):
    """A convolution with all that its shape depends on, and products of tensors of different shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, (3, 1), stride=(2, 1), padding=(0, 2), dilation=(2, 1), groups=3)
        self.fc = nn.Linear(6, 5)

    def forward(self, x):
        x = self.conv(x)
        return self.fc((x * x.mean((2, 3), keepdim=True)).mean((2, 3)))


def test_shapes_are_those_of_a_real_pass():
    real, bare = trace_network(Odd(), SHAPE), trace_network(Odd().to("meta"), SHAPE)
    shapes = [(one.name, one.output.shape) for one in real.operations]
    assert shapes == [(one.name, one.output.shape) for one in bare.operations]
    # (8 - 5) // 2 + 1 rows, as a kernel of 3, twice as wide, is 5 wide; 8 + 4 columns
    assert shapes[0] == ("conv2d", (1, 6, 2, 12))
    assert [name for name, _ in shapes] == ["conv2d", "mean", "mul", "mean", "linear"]


def test_what_does_not_depend_on_the_images_is_a_constant():
    trace = traced(lambda net, x: net.fc((net.conv(x) + torch.arange(8.0).exp()).mean((2, 3))))
    assert [one.name for one in trace.operations] == ["conv2d", "add", "mean", "linear"]
    assert trace.operations[1].arguments["other"] == TensorSlot(CONSTANT, (8,))


def test_maps_for_those_who_listen_are_left_out():
    def forward(net, x):
        maps = net.conv(x)
        maps.flatten(1).transpose(0, 1)
        return net.fc(maps.mean((2, 3)))

    assert [one.name for one in traced(forward).operations] == ["conv2d", "mean", "linear"]


def test_operators_in_place_and_functions_are_one_operation():
    def forward(net, x):
        x = net.conv(x)
        x += 1
        x = torch.relu_(x * 2)
        return net.fc(x.mean((2, 3)))

    assert [one.name for one in traced(forward).operations] == ["conv2d", "add", "mul", "relu", "mean", "linear"]


def test_a_network_that_asks_for_numbers_is_built_with_weights():
    def forward(net, x):
        return net.fc(net.conv(x).mean((2, 3))) * float(net.fc.weight.abs().sum() > 0)

    assert [one.name for one in traced(forward).operations] == ["conv2d", "mean", "linear", "mul"]


def test_random_state_stays():
    before = torch.get_rng_state()
    trace_architecture(tiny.SPACE, Architecture.of({"width": 3}), tiny.SHAPE)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_point_outside_the_space_and_a_network_without_logits_are_refused():
    with pytest.raises(InfeasibleArchitectureError, match="width = 99 lies outside"):
        trace_architecture(tiny.SPACE, Architecture.of({"width": 99}), tiny.SHAPE)
    with pytest.raises(ConfigError, match="cannot be profiled: its logits are none of the tensors"):
        traced(lambda net, x: torch.zeros(1, 5))
