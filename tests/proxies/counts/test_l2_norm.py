from __future__ import annotations

import pytest
import torch
from torch import nn

from automl_kd.proxies.counts.l2_norm import L2_NORM
from tests.proxies.examples import example_probe, linear, vectors


def test_lengths_add_up_by_hand():
    # |(3, 4)| + |(5, 12)|
    network = nn.Sequential(nn.Flatten(), linear([3, 4]), linear([5], [12]))
    assert L2_NORM(network, vectors([1, 1], labels=[0])) == pytest.approx(5 + 13)


def test_neither_biases_nor_norms_count():
    convolution = nn.Conv2d(1, 1, 2)
    nn.init.constant_(convolution.weight, 3)  # four weights of 3
    network = nn.Sequential(convolution, nn.BatchNorm2d(1), nn.Flatten())
    assert L2_NORM(network, example_probe(teacher=None)) == pytest.approx(6)


def test_nothing_is_run():
    network = nn.Sequential(linear([3, 4]), linear([1, 1, 1, 1]))  # shapes that do not fit
    assert L2_NORM(network, vectors([1, 1], labels=[0])) == pytest.approx(7)
    assert torch.is_grad_enabled()
