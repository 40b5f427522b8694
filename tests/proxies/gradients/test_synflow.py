from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from automl_kd.proxies.gradients.synflow import SYNFLOW
from tests.proxies.examples import linear, vectors


def test_a_linear_chain_by_hand():
    # |w|: (1, 2) then (3, 1). Ones in: 3, then 9 and 3, R = 12.
    # In a chain without biases every layer carries the whole flow: sum |w dR/dw| = R in each of the two.
    network = nn.Sequential(nn.Flatten(), linear([1, -2]), linear([3], [-1]))
    assert SYNFLOW(network, vectors([5, 7], labels=[0])) == pytest.approx(math.log(24))


def test_batch_normalisation_is_bypassed():
    norm = nn.BatchNorm1d(1)
    nn.init.constant_(norm.weight, 10)
    nn.init.constant_(norm.bias, 5)
    norm.running_mean = torch.full((1,), 100.0)
    network = nn.Sequential(nn.Flatten(), linear([1, -2]), norm, linear([3], [-1]))
    assert SYNFLOW(network, vectors([5, 7], labels=[0])) == pytest.approx(math.log(24))


def test_neither_images_nor_labels_matter():
    scores = {
        SYNFLOW(nn.Sequential(nn.Flatten(), linear([1, -2], [2, 2])), probe)
        for probe in (vectors([5, 7], labels=[0]), vectors([-1, 0], [2, 2], labels=[1, 1]))
    }
    assert len(scores) == 1


def test_signal_beyond_float32():
    # 100 layers of weight 1000: R = 10^300, and every layer carries it.
    network = nn.Sequential(nn.Flatten(), *[linear([1000]) for _ in range(100)])
    probe = vectors([1], labels=[0])
    assert SYNFLOW(network, probe) == pytest.approx(math.log(100) + 300 * math.log(10))


def test_no_signal_gives_minus_infinity():
    network = nn.Sequential(nn.Flatten(), linear([0, 0]), linear([3], [-1]))
    assert SYNFLOW(network, vectors([5, 7], labels=[0])) == -math.inf
