from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from automl_kd.errors import ConfigError
from automl_kd.proxies.activations.az_nas import (
    AZ_EXPRESSIVITY,
    AZ_PROGRESSIVITY,
    AZ_TRAINABILITY,
    NOISE_IMAGES,
    block_maps,
    fold_windows,
    kaiming_initialized,
    random_signs,
    spectrum_entropy,
)
from automl_kd.proxies.passes import Passes
from tests.proxies.examples import GREY, example_probe

PROBE = example_probe(GREY, teacher=None, batch=8)
NORMAL = example_probe(GREY, teacher=None, batch=256)


class Stages(nn.Module):
    """A stem that passes its input on, and one stage of blocks."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Identity()
        self.stage1 = nn.Sequential(*[nn.Sequential(block) for block in blocks])

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.stage1(self.stem(x))
        return out


def convolution(weight: Tensor, stride: int = 1) -> nn.Conv2d:
    """With these weights after they are scaled to variance 2 / fan-in."""
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2], stride, bias=False)
    layer.weight.data = weight / math.sqrt(2 / weight[0].numel())
    return layer


def times(*factors: float) -> nn.Conv2d:
    return convolution(torch.tensor(factors)[:, None, None, None])


@pytest.mark.parametrize(("probe", "images"), [(PROBE, 8), (NORMAL, NOISE_IMAGES)])
def test_no_more_noise_than_the_probe_has_images(probe, images):
    stem, block = block_maps(Passes(Stages(times(1)), probe))
    assert len(stem) == len(block) == images


def test_entropy_of_two_channels_by_hand():
    # Columns (a, b) = (3, 1), (3, -1), (-3, 1), (-3, -1) and a mean of (5, 7): variances 9 and 1, uncorrelated.
    rows = torch.tensor([[3.0, 1], [3, -1], [-3, 1], [-3, -1]]) + torch.tensor([5.0, 7])
    expected = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    assert spectrum_entropy(rows[:, :, None, None]).item() == pytest.approx(expected, rel=1e-4)


def test_entropy_is_greatest_for_equal_and_zero_for_repeated_channels():
    one = torch.tensor([1.0, -1, 1, -1])
    other = torch.tensor([1.0, 1, -1, -1])
    alike, apart = (torch.stack(pair, 1)[:, :, None, None] for pair in ((one, one), (one, other)))
    assert spectrum_entropy(alike).item() == pytest.approx(0, abs=1e-5)
    assert spectrum_entropy(apart).item() == pytest.approx(math.log(2))


def test_entropies_of_blocks_are_summed_and_their_least_growth_found():
    # One channel has entropy 0, and so have two that repeat it. The last block tells apart two pixels of noise, which
    # are uncorrelated: entropies 0, 0, almost log 2. (Of 256 images of noise, so that "almost" is within a hundredth.)
    shifted = nn.Conv2d(2, 2, (1, 2), bias=False)
    shifted.weight.data = torch.tensor([[[[1.0, 0]], [[0, 0]]], [[[0, 1]], [[0, 0]]]])
    network = Stages(times(1, 1), shifted)
    assert AZ_EXPRESSIVITY(network, NORMAL) == pytest.approx(math.log(2), abs=0.01)
    assert AZ_PROGRESSIVITY(network, NORMAL) == pytest.approx(0, abs=0.01)
    merged = nn.Conv2d(2, 1, 1, bias=False)
    falling = Stages(times(1, 1), shifted, merged)
    assert AZ_PROGRESSIVITY(falling, NORMAL) == pytest.approx(-math.log(2), abs=0.01)


def test_a_constant_map_is_ranked_last():
    for proxy in (AZ_EXPRESSIVITY, AZ_PROGRESSIVITY):
        assert proxy(Stages(times(0.0), times(1.0)), PROBE) == -math.inf


def test_trainability_of_factors_by_hand():
    # The Jacobians are 2 and 1/2: 2 - 2 - 1/2 in both cases.
    assert AZ_TRAINABILITY(Stages(times(2)), PROBE) == pytest.approx(-0.5, rel=1e-4)
    assert AZ_TRAINABILITY(Stages(times(2), times(0.5)), PROBE) == pytest.approx(-0.5, rel=1e-4)


def test_a_block_that_keeps_lengths_is_best():
    # A change of signs is no identity, and its singular value is 1.
    assert AZ_TRAINABILITY(Stages(times(-1)), PROBE) == pytest.approx(0, abs=1e-5)


def test_a_block_that_halves_the_resolution():
    # Each output sums a window of 2x2 pixels times 1/2: as a matrix of 1 x 4, its singular value is 1.
    assert AZ_TRAINABILITY(Stages(convolution(torch.full((1, 1, 2, 2), 0.5), 2)), PROBE) == pytest.approx(0, abs=1e-5)


def test_the_identity_is_ranked_last():
    assert AZ_TRAINABILITY(Stages(nn.Identity(), times(2)), PROBE) == -math.inf


def test_a_block_that_passes_nothing_is_worse_than_any_other():
    # s = 0: 2 - 1 / 0.000001.
    assert AZ_TRAINABILITY(Stages(times(0.0)), PROBE) == pytest.approx(2 - 1e6)


def test_signs_are_signs():
    signs = random_signs(0, torch.zeros(2, 3, 4, 4))
    assert sorted(signs.unique().tolist()) == [-1, 1]
    assert signs.shape == (2, 3, 4, 4)
    assert not torch.equal(signs, random_signs(1, signs))


def test_windows_become_channels_and_an_odd_edge_is_padded():
    back = torch.arange(9.0).view(1, 1, 3, 3)
    windows = fold_windows(back, torch.zeros(1, 1, 2, 2))[0, :, 0, 0]
    assert windows.tolist() == [0, 1, 3, 4]
    assert fold_windows(back, torch.zeros(1, 1, 2, 2))[0, :, 1, 1].tolist() == [8, 0, 0, 0]


def test_weights_are_scaled_and_biases_are_not():
    layer = nn.Conv2d(2, 1, 2)
    scaled = kaiming_initialized(nn.Sequential(layer))
    torch.testing.assert_close(scaled["0.weight"], layer.weight.detach() * 0.5)  # sqrt(2 / 8)
    torch.testing.assert_close(scaled["0.bias"], layer.state_dict()["bias"])
    assert not scaled["0.weight"].requires_grad


def test_a_network_without_blocks_is_refused():
    with pytest.raises(ConfigError, match=r"compares a student's blocks and found 1.*leave az_nas out"):
        AZ_TRAINABILITY(nn.Sequential(nn.Conv2d(1, 1, 1)), PROBE)
