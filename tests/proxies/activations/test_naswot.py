from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from automl_kd.errors import ConfigError
from automl_kd.proxies.activations.naswot import NASWOT, agreement, both_on, total_agreement
from automl_kd.proxies.activations.rectified import active_units
from tests.proxies.examples import linear, vectors

LAST = torch.channels_last
IDENTITY = ([1.0, 0.0], [0.0, 1.0])


class ReLUConvBN(nn.Module):
    """A container that calls itself a ReLU, as the blocks of NAS-Bench-201 do."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.op = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.op(x)
        return out


def test_agreement_counts_units_in_the_same_state():
    codes = torch.tensor([[1, 1, 0], [1, 0, 1], [0, 0, 1]], dtype=torch.int8)
    assert both_on(codes).tolist() == [[2, 1, 0], [1, 2, 1], [0, 1, 1]]
    assert agreement(both_on(codes), 3).tolist() == [[3, 1, 0], [1, 3, 2], [0, 2, 3]]


def test_two_images_and_two_units_by_hand():
    # Codes (1, 1) and (1, 0): kernel ((2, 1), (1, 2)), determinant 3.
    network = nn.Sequential(nn.Flatten(), linear(*IDENTITY), nn.ReLU(), linear(*IDENTITY))
    assert NASWOT(network, vectors([1, 2], [3, -1], labels=[0, 1])) == pytest.approx(math.log(3))


def test_a_container_named_relu_does_not_count_twice():
    network = nn.Sequential(nn.Flatten(), ReLUConvBN(linear(*IDENTITY), nn.ReLU()), linear(*IDENTITY))
    assert NASWOT(network, vectors([1, 2], [3, -1], labels=[0, 1])) == pytest.approx(math.log(3))


def test_a_rectifier_that_runs_twice_counts_twice():
    # Kernel ((4, 2), (2, 4)), determinant 12.
    relu = nn.ReLU()
    network = nn.Sequential(nn.Flatten(), linear(*IDENTITY), relu, linear(*IDENTITY), relu)
    assert NASWOT(network, vectors([1, 2], [3, -1], labels=[0, 1])) == pytest.approx(math.log(12))


def test_writing_in_place_changes_nothing():
    network = nn.Sequential(nn.Flatten(), linear(*IDENTITY), nn.ReLU(inplace=True), linear(*IDENTITY))
    assert NASWOT(network, vectors([1, 2], [3, -1], labels=[0, 1])) == pytest.approx(math.log(3))


def test_images_of_equal_codes_give_minus_infinity():
    network = nn.Sequential(nn.Flatten(), linear(*IDENTITY), nn.ReLU())
    assert NASWOT(network, vectors([1, 2], [3, 4], labels=[0, 1])) == -math.inf


def test_a_network_without_rectifiers_is_refused():
    with pytest.raises(ConfigError, match=r"no rectifier module.*leave naswot out"):
        NASWOT(nn.Sequential(nn.Flatten(), linear(*IDENTITY)), vectors([1, 2], labels=[0]))


def test_the_total_over_rectifiers_is_exact_beyond_single_precision():
    # 2^24 + 1 is the first whole number that single precision does not have; a GPU counts in it.
    assert total_agreement([torch.full((1, 1), 2.0**24), torch.ones(1, 1)], [1, 1]).item() == 2**24 + 1
    assert total_agreement([torch.full((1, 1), 2**30, dtype=torch.int32)] * 2, [1, 2]).item() == 3 * 2**30


@given(st.integers(1, 9), st.integers(1, 300), st.integers(0, 5))
def test_bytes_count_as_floats_do(images: int, units: int, seed: int):
    codes = torch.randint(2, (images, units), generator=torch.Generator().manual_seed(seed), dtype=torch.int8)
    off = 1 - codes.double()
    expected = codes.double() @ codes.double().T + off @ off.T
    assert torch.equal(agreement(both_on(codes), units).double(), expected)


def test_the_layout_in_memory_does_not_matter():
    images = torch.randn(3, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    rows = [both_on(next(active_units([maps], "naswot"))) for maps in (images, images.to(memory_format=LAST))]
    assert torch.equal(*rows)
