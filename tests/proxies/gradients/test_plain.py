from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from automl_kd.proxies.gradients.plain import PLAIN_PROXY
from automl_kd.proxies.gradients.snip import SNIP
from tests.proxies.examples import linear, vectors


def test_one_layer_by_hand():
    # Logits (0, log 3): softmax (1/4, 3/4), minus one hot (-3/4, 3/4), times x = 1.
    # w dL/dw: 0 * -3/4 and log 3 * 3/4.
    network = nn.Sequential(nn.Flatten(), linear([0], [math.log(3)]))
    assert PLAIN_PROXY(network, vectors([1], labels=[0])) == pytest.approx(0.75 * math.log(3))


def test_signs_cancel():
    # x = 1, h = 2, logits (2, -2), error (-q, q) with q = 1/(1 + e^4).
    # Second layer: 1 * -q * 2 and -1 * q * 2. First: w = 2 times the error behind it, -2 q.
    q = 1 / (1 + math.exp(4))
    network = nn.Sequential(nn.Flatten(), linear([2]), linear([1], [-1]))
    assert PLAIN_PROXY(network, vectors([1], labels=[0])) == pytest.approx(-8 * q)


def test_a_layer_before_batch_normalisation_counts_nothing():
    # It may be scaled at will, so the loss does not change in the direction of its weight.
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 3, bias=False), nn.BatchNorm1d(3, eps=1e-12))
    probe = vectors([1, 2], [3, -1], [0, 1], [-2, -2], labels=[0, 1, 1, 0], classes=3)
    assert PLAIN_PROXY(network, probe) == pytest.approx(0, abs=1e-6)
    assert SNIP(network, probe) > 1e-2
