from __future__ import annotations

import math

import pytest
from torch import nn

from automl_kd.proxies.gradients.grad_norm import GRAD_NORM
from tests.proxies.examples import linear, vectors


def test_one_layer_by_hand():
    # Logits 0: softmax minus one hot is (-1/2, 1/2), times (3, 4): rows of length 5/2 each.
    network = nn.Sequential(nn.Flatten(), linear([0, 0], [0, 0]))
    assert GRAD_NORM(network, vectors([3, 4], labels=[0])) == pytest.approx(2.5 * math.sqrt(2))


def test_layers_add_up():
    # x = 1, h = 2, logits (2, -2), error (-q, q) with q = 1/(1 + e^4).
    # Second layer: error times h, norm 2 q sqrt 2. First: (1, -1) . error, norm 2 q.
    q = 1 / (1 + math.exp(4))
    network = nn.Sequential(nn.Flatten(), linear([2]), linear([1], [-1]))
    assert GRAD_NORM(network, vectors([1], labels=[0])) == pytest.approx(2 * q * (1 + math.sqrt(2)))


def test_a_weight_that_plays_no_part_counts_zero():
    network = nn.Sequential(nn.Flatten(), linear([0, 0], [0, 0]))
    alone = GRAD_NORM(network, vectors([3, 4], labels=[0]))
    network[0].register_module("idle", linear([1, 1]))
    assert GRAD_NORM(network, vectors([3, 4], labels=[0])) == alone


def test_biases_do_not_count():
    plain = nn.Sequential(nn.Flatten(), linear([0, 0], [0, 0]))
    layer = nn.Linear(2, 2)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    biased = nn.Sequential(nn.Flatten(), layer)
    probe = vectors([3, 4], [1, 2], labels=[0, 1])
    assert GRAD_NORM(biased, probe) == pytest.approx(GRAD_NORM(plain, probe))
