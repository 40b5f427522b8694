from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from automl_kd.models.fast_norm import QuickNorm, quicken
from automl_kd.models.features import FeatureLayer
from automl_kd.proxies.activations.zen import BATCH, ZEN
from automl_kd.proxies.passes import Passes
from tests.proxies.examples import GREY, example_probe

PROBE = example_probe(GREY, teacher=None)


class Body(nn.Module):
    """Layers, then a pool."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.feature_layers = {"pre_pool": FeatureLayer("pool", "input"), "pooled": FeatureLayer("pool")}

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.pool(self.layers(x))
        return out


def times(*factors: float) -> nn.Conv2d:
    layer = nn.Conv2d(1, len(factors), 1, bias=False)
    layer.weight.data = torch.tensor(factors, dtype=torch.float32)[:, None, None, None]
    return layer


def draws() -> tuple[Tensor, Tensor]:
    generator = Passes(nn.Identity(), PROBE).generator("zen")
    x, e = (torch.randn(BATCH, 1, 8, 8, generator=generator) for _ in range(2))
    return x, e


def test_a_linear_map_by_hand():
    # f(x) = 3x: the change is 0.03 e, summed over an image's 64 pixels and averaged over images.
    change = 0.03 * draws()[1].abs().sum((1, 2, 3)).mean()
    assert ZEN(Body(times(3)), PROBE) == pytest.approx(change.log().item(), rel=1e-4)


def test_two_channels_add_up():
    change = 0.05 * draws()[1].abs().sum((1, 2, 3)).mean()
    assert ZEN(Body(times(3, -2)), PROBE) == pytest.approx(change.log().item(), rel=1e-4)


def test_what_batch_normalisation_divides_by_is_given_back():
    # Normalised, 3x and 300x are the same map; log 3 s and log 300 s are added, where s is the spread of the noise x.
    norm = nn.BatchNorm2d(1)
    small, large = (ZEN(Body(times(factor), norm), PROBE) for factor in (3, 300))
    assert large - small == pytest.approx(math.log(100), rel=1e-4)
    assert small == pytest.approx(ZEN(Body(times(3)), PROBE), abs=0.01)


def test_the_spread_is_the_root_of_the_mean_variance_over_channels():
    # Variances 9 s^2 and 16 s^2: sqrt(12.5) s. The normalised map has two channels of the change that x / s has.
    x, _ = draws()
    one = ZEN(Body(times(1), nn.BatchNorm2d(1)), PROBE) - x.std().log().item()
    two = ZEN(Body(times(3, 4), nn.BatchNorm2d(2)), PROBE) - (math.sqrt(12.5) * x.std()).log().item()
    assert two - one == pytest.approx(math.log(2), rel=1e-3)


def test_the_quick_normalisation_gives_back_as_much():
    body = Body(times(3, 4), nn.BatchNorm2d(2), nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4)))
    expected = ZEN(body, PROBE)
    quicken(body)
    assert ZEN(body, PROBE) == pytest.approx(expected, rel=1e-5)
    assert all(one.noted is None for one in body.modules() if isinstance(one, QuickNorm))


def test_where_nothing_passes_through():
    assert ZEN(Body(times(0)), PROBE) == -math.inf
