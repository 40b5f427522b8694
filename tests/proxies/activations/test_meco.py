from __future__ import annotations

import pytest
import torch
from torch import nn

from automl_kd.errors import ConfigError
from automl_kd.proxies.activations.meco import MECO, MECO_OPT, smallest_eigenvalues
from tests.proxies.examples import GREY, example_probe, linear, vectors

PROBE = example_probe(GREY, teacher=None)


def test_two_channels_by_hand():
    # (1, 0, -1) and (1, -1, 0) have correlation 1/2; a constant added and a factor change nothing.
    # The eigenvalues of ((1, r), (r, 1)) are 1 + r and 1 - r.
    maps = torch.tensor([[[1.0, 0, -1], [1, -1, 0]], [[6, 5, 4], [-3, 3, 0]]])
    torch.testing.assert_close(smallest_eigenvalues(maps), torch.tensor([0.5, 0.5]))


def test_a_channel_that_does_not_vary_gives_zero():
    maps = torch.tensor([[[1.0, 0, -1], [2, 2, 2]]])
    torch.testing.assert_close(smallest_eigenvalues(maps), torch.zeros(1))


@pytest.mark.parametrize(("channels", "pixels"), [(4, 4), (9, 4), (3, 4)])
def test_as_many_channels_as_pixels_depend_on_one_another(channels, pixels):
    maps = torch.randn(2, channels, pixels, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    centred = maps - maps.mean(2, keepdim=True)
    by_hand = torch.linalg.eigvalsh(torch.stack([torch.corrcoef(one) for one in centred]))[:, 0]
    torch.testing.assert_close(smallest_eigenvalues(maps), by_hand, atol=1e-12, rtol=1e-9)
    assert bool(smallest_eigenvalues(maps).all()) == (channels < pixels)


def test_channels_that_repeat_one_another_give_zero():
    layer = nn.Conv2d(1, 2, 1)
    layer.weight.data = torch.tensor([1.0, -2])[:, None, None, None]
    assert MECO(nn.Sequential(layer), PROBE) == pytest.approx(0, abs=1e-6)


def test_channels_that_see_different_pixels_of_noise_are_almost_uncorrelated():
    # The image is of 16x16 pixels; channels that are its columns 0 and 1 of every window correlate by chance only.
    layer = nn.Conv2d(1, 2, (1, 2), bias=False)
    layer.weight.data = torch.tensor([[[[1.0, 0]]], [[[0, 1]]]])
    assert 0.7 < MECO(nn.Sequential(layer), PROBE) < 1


def test_a_rectifier_counts_as_a_layer():
    layers = nn.Conv2d(1, 2, 3), nn.ReLU()
    assert MECO(nn.Sequential(*layers), PROBE) > MECO(nn.Sequential(layers[0]), PROBE) > 0


def test_neither_images_nor_batch_normalisation_matter():
    convolution = nn.Conv2d(1, 3, 3)
    norm = nn.BatchNorm2d(3)
    scores = [
        MECO(network, probe)
        for network in (nn.Sequential(convolution), nn.Sequential(convolution, norm))
        for probe in (PROBE, example_probe(GREY, teacher=None, seed=1))
    ]
    assert scores == [scores[0]] * 4


def test_opt_takes_all_of_few_channels():
    network = nn.Sequential(nn.Conv2d(1, 8, 3))
    assert MECO_OPT(network, PROBE) == pytest.approx(MECO(network, PROBE), rel=1e-3)


def test_opt_of_many_channels_is_greater():
    # The smallest eigenvalue of a principal submatrix is no smaller (Cauchy), and the factor is 16 / 8.
    network = nn.Sequential(nn.Conv2d(1, 16, 5))
    assert MECO_OPT(network, PROBE) > 2 * MECO(network, PROBE) > 0


def test_a_network_without_maps_is_refused():
    with pytest.raises(ConfigError, match=r"meco found no map.*leave meco out"):
        MECO(nn.Sequential(nn.Flatten(), linear([1.0] * 8)), vectors([1, 2], labels=[0]))
