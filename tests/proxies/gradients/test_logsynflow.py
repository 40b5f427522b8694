from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from automl_kd.proxies.gradients.logsynflow import LOGSYNFLOW
from tests.proxies.examples import example_probe, linear, vectors


def test_a_linear_chain_by_hand():
    # |w|: (1, 2) then (3, 1). Ones in: 3, R = 12. dR/dw of the first layer: 3 + 1 = 4 for both weights; of the second:
    # the 3 that arrive. 1 log 5 + 2 log 5 + 3 log 4 + 1 log 4.
    network = nn.Sequential(nn.Flatten(), linear([1, -2]), linear([3], [-1]))
    assert LOGSYNFLOW(network, vectors([5, 7], labels=[0])) == pytest.approx(3 * math.log(5) + 4 * math.log(4))


def test_batch_normalisation_does_not_run():
    # One image of one place is too little for batch normalisation in training, and its statistics are not float64.
    norm = nn.BatchNorm1d(1)
    network = nn.Sequential(nn.Flatten(), linear([1, -2]), norm, linear([3], [-1]))
    assert LOGSYNFLOW(network, vectors([5, 7], labels=[0])) == pytest.approx(3 * math.log(5) + 4 * math.log(4))
    assert "forward" not in vars(norm)
    assert norm.num_batches_tracked is not None
    assert int(norm.num_batches_tracked) == 0


def test_gradients_beyond_float32_count_by_their_logarithm():
    # 100 layers of weight 1000: each gradient is 10^297, and 1 is nothing beside it.
    network = nn.Sequential(nn.Flatten(), *[linear([1000]) for _ in range(100)])
    assert LOGSYNFLOW(network, vectors([1], labels=[0])) == pytest.approx(100 * 1000 * 297 * math.log(10))


def test_no_signal_gives_what_reaches_the_last_gradients():
    # Nothing passes the first layer, but its weights would matter if they were there: dR/dw is 4, times |w| = 0.
    network = nn.Sequential(nn.Flatten(), linear([0, 0]), linear([3], [-1]))
    assert LOGSYNFLOW(network, vectors([5, 7], labels=[0])) == 0


def test_small_gradients_are_not_lost():
    # dR/dw = 1e-9 for the first weight: log(1 + 1e-9) is 1e-9, not 0.
    network = nn.Sequential(nn.Flatten(), linear([1.0]), linear([1e-9]))
    # First layer 1 * log1p(1e-9), second 1e-9 * log 2.
    expected = 1e-9 * (1 + math.log(2))
    assert LOGSYNFLOW(network, vectors([1], labels=[0])) == pytest.approx(expected, rel=1e-6)


def test_convolutions_count():
    # One image of 8x8 ones, kernel 8: the sum of the weights, each with gradient 1.
    convolution = nn.Conv2d(1, 1, 8, bias=False)
    nn.init.constant_(convolution.weight, -0.5)
    value = LOGSYNFLOW(nn.Sequential(convolution, nn.Flatten()), example_probe(teacher=None))
    assert value == pytest.approx(64 * 0.5 * math.log(2))
    assert torch.is_grad_enabled()
