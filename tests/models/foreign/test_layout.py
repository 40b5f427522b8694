"""Layouts of memory, and networks that can be run in one alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from automl_kd.models.foreign.adoption import adopt
from automl_kd.models.foreign.layout import door_of, lay_out
from tests import strange
from tests.tiny import SHAPE

LAST = torch.channels_last


def images() -> Tensor:
    return torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=LAST)


def test_who_flattens_by_view_is_run_with_rows_last():
    torch.manual_seed(0)
    network, plain = strange.Viewing(SHAPE), strange.Viewing(SHAPE)
    plain.load_state_dict(network.state_dict())
    assert not lay_out(network, SHAPE, LAST)
    assert torch.equal(network(images()), plain(images().contiguous()))
    with pytest.raises(RuntimeError):
        plain.to(memory_format=LAST)(images())


def test_who_does_not_is_laid_out():
    network = strange.Body(SHAPE)
    assert lay_out(network, SHAPE, LAST)
    assert network.conv.weight.is_contiguous(memory_format=LAST)
    assert lay_out(network, SHAPE, torch.contiguous_format)


def test_a_second_layout_takes_the_place_of_the_first():
    network = strange.Viewing(SHAPE)
    assert not lay_out(network, SHAPE, LAST)
    assert lay_out(network, SHAPE, torch.contiguous_format)
    assert not door_of(network, SHAPE).contiguous


def test_who_cannot_be_run_at_all_is_left_as_asked():
    network = nn.Sequential(nn.Conv2d(2, 3, 3))
    assert lay_out(network, SHAPE, LAST)
    assert network.get_parameter("0.weight").is_contiguous(memory_format=LAST)


class Counting(strange.Body):
    """Counts its passes, and draws."""

    def __init__(self) -> None:
        super().__init__(SHAPE)
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.get_buffer("passes").add_(1)
        return super().forward(x + 0 * torch.rand(()))


def test_nothing_is_left_of_the_trying():
    network = adopt(Counting(), SHAPE)
    before, state = {name: value.clone() for name, value in network.state_dict().items()}, torch.get_rng_state()
    lay_out(network, SHAPE, LAST)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert network.training
