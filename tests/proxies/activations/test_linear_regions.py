from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from automl_kd.errors import ConfigError
from automl_kd.models import build
from automl_kd.proxies.activations.linear_regions import (
    LINEAR_REGIONS,
    SAMPLES,
    count_distinct_codes,
    local_crops,
    thin_and_small,
    thinned,
)
from automl_kd.proxies.probe import Probe
from automl_kd.space import Architecture
from search_spaces import nasbench201
from tests.proxies.examples import COLOUR, vectors

CELLS = nasbench201.space(4, 1)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_samples_that_differ_are_counted_over_all_codes():
    # Columns 101, 011, 101, 100: the first and third are one.
    codes = [torch.tensor([[1, 0, 1, 1], [0, 1, 0, 0]]) > 0, torch.tensor([[1, 1, 1, 0]]) > 0]
    assert count_distinct_codes(codes, generator()).item() == 3


def test_signs_of_two_pixels_by_hand():
    # The window is 1x2, so the crops are the images. A 1x1 convolution without bias is on where a pixel has the sign of
    # its weight: the images have signs ++, +-, -- and again ++, whichever sign the weight has three patterns.
    network = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.ReLU())
    assert LINEAR_REGIONS(network, vectors([1, 2], [3, -1], [-1, -2], [2, 1], labels=[0, 1, 0, 1])) == 3


def test_crops_are_windows_of_one_channel():
    # Pixels are numbered, so a window's rows are 10 apart, its columns 1, and channels begin 100 apart.
    images = torch.arange(2 * 3 * 100.0).view(2, 3, 10, 10)
    crops = local_crops(images, generator())
    assert crops.shape == (SAMPLES, 1, 3, 3)
    corner = crops[:, :, :1, :1]
    window = torch.tensor([[0.0, 1, 2], [10, 11, 12], [20, 21, 22]])
    assert torch.equal(crops - corner, window.expand_as(crops))
    assert corner.flatten().remainder(10).max() == 7
    assert len(corner.unique()) == 2 * 3 * 8 * 8  # every window was drawn


def test_the_narrowest_layer_gets_one_channel():
    network = build(CELLS, Architecture.of(CELLS.default), COLOUR, seed=0)
    thin = thinned(network)
    assert thin["stem.0.weight"].shape == (1, 1, 3, 3)
    assert thin["stage3.0.body.0.1.weight"].shape == (4, 2, 3, 3)
    assert thin["stage3.0.body.0.2.weight"].shape == (4,)
    assert thin["fc.weight"].shape == (10, 4)
    assert thin["fc.bias"].shape == (10,)


def test_weights_are_scaled_by_the_fan_in_that_is_left():
    layer = nn.Conv2d(6, 3, 2, bias=False)
    # A third of 6 channels and 2x2 pixels are left: 8 inputs, variance 2 / 8.
    expected = layer.weight[:1, :2] * math.sqrt(2 / 8)
    torch.testing.assert_close(thinned(nn.Sequential(layer))["0.weight"], expected)


def test_the_student_runs_thin_and_is_as_it_was():
    network = build(CELLS, Architecture.of(CELLS.default), COLOUR, seed=0).train()
    before = {name: one.clone() for name, one in network.state_dict().items()}
    images = torch.randn(4, 3, 32, 32, generator=generator())
    probe = Probe(images, torch.zeros(4, dtype=torch.int64), COLOUR)
    assert 1 < LINEAR_REGIONS(network, probe) <= SAMPLES
    assert all(torch.equal(one, before[name]) for name, one in network.state_dict().items())


@pytest.mark.parametrize("side", [3, 1, 12])
def test_small_maps_are_those_of_the_layers_themselves(side):
    # Strides, paddings and biases; three maps of 12x12 are too large for products.
    network = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.AvgPool2d(3, 1, 1, count_include_pad=False),
        nn.Conv2d(3, 2, 3, stride=2, padding=1), nn.BatchNorm2d(2, affine=False), nn.ReLU(),
    ).double()  # fmt: skip
    x = torch.randn(50, 1, side, side, generator=generator(), dtype=torch.float64)
    expected = network(x)
    with torch.no_grad(), thin_and_small(network, dict(network.named_parameters())):
        # In single precision a channel of nearly equal pixels would magnify the last bit without bound.
        torch.testing.assert_close(network(x), expected)
    assert torch.equal(network(x), expected)


def test_groups_are_refused():
    network = nn.Sequential(nn.Conv2d(2, 2, 1, groups=2), nn.ReLU())
    with pytest.raises(ConfigError, match=r"convolution with groups.*leave linear_regions out"):
        LINEAR_REGIONS(network, vectors([1, 2], labels=[0]))
