from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from automl_kd.proxies.gradients.fisher import FISHER, saliency
from automl_kd.proxies.probe import Probe
from automl_kd.space import InputShape
from tests.proxies.examples import linear, vectors


def test_saliency_by_hand():
    # Two images, one channel, two places: sums of a g are 1*2 + 3*-1 = -1 and 2*1 + 1*1 = 3; (1 + 9)/2, halved.
    output, gradient = torch.tensor([[[[1.0, 3.0]]], [[[2.0, 1.0]]]]), torch.tensor([[[[2.0, -1.0]]], [[[1.0, 1.0]]]])
    assert float(saliency(output, gradient)) == pytest.approx(2.5)


def test_linear_layers_by_hand():
    # x = 1, h = 2, logits (2, -2), error (-q, q) with q = 1/(1 + e^4).
    # Second layer, one weight for each channel: (2 * -q)^2/2 + (-2 * q)^2/2 = 4 q^2.
    # First, one weight: output 2, gradient -2 q: (4 q)^2/2 = 8 q^2.
    q = 1 / (1 + math.exp(4))
    network = nn.Sequential(nn.Flatten(), linear([2]), linear([1], [-1]))
    assert FISHER(network, vectors([1], labels=[0])) == pytest.approx(12 * q**2, rel=1e-5)


def test_a_channel_counts_once_for_each_of_its_weights():
    # As above with h = 2 made of two pixels: the first layer's 8 q^2 count twice.
    q = 1 / (1 + math.exp(4))
    network = nn.Sequential(nn.Flatten(), linear([1, 1]), linear([1], [-1]))
    assert FISHER(network, vectors([1, 1], labels=[0])) == pytest.approx((4 + 2 * 8) * q**2, rel=1e-5)


def test_places_of_a_map_add_up_before_the_square():
    # A 1x1 convolution of weight 1 on two pixels (1, -1), pooled by a classifier of weights ((1, 1), (0, 0)): logits 0,
    # error (-1/2, 1/2). Gradient of the map (-1/2, -1/2), products (-1/2, 1/2), whose sum is 0; the logits are 0 too.
    convolution = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.ones_(convolution.weight)
    network = nn.Sequential(convolution, nn.Flatten(), linear([1, 1], [0, 0]))
    probe = Probe(torch.tensor([[[[1.0, -1.0]]]]), torch.tensor([0]), InputShape(1, 1, 2, 2))
    assert FISHER(network, probe) == pytest.approx(0, abs=1e-12)
    # With pixels (1, 1): logits (2, 0), error (-q, q) with q = 1/(1 + e^2). Map: (-2 q)^2/2; logits: (2 * -q)^2/2 times
    # two weights.
    q = 1 / (1 + math.exp(2))
    probe = Probe(torch.tensor([[[[1.0, 1.0]]]]), torch.tensor([0]), InputShape(1, 1, 2, 2))
    assert FISHER(network, probe) == pytest.approx(2 * q**2 + 2 * 2 * q**2, rel=1e-5)
