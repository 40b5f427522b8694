from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from automl_kd.proxies.gradients.ntk_condition import NTK_CONDITION, kernel
from tests.proxies.examples import linear, vectors

ROWS = ([1.0, -2.0], [0.5, 3.0])


def test_two_images_by_hand():
    # The sum of two logits has gradient (x, x): kernel 2 x_i . x_j, here ((2, 0), (0, 8)), condition number 4.
    network = nn.Sequential(nn.Flatten(), linear(*ROWS))
    assert NTK_CONDITION(network, vectors([1, 0], [0, 2], labels=[0, 1])) == pytest.approx(-math.log(4))


def test_a_correlated_pair_by_hand():
    # Kernel 2 ((2, 1), (1, 1)), eigenvalues 3 +- sqrt 5.
    network = nn.Sequential(nn.Flatten(), linear(*ROWS))
    expected = math.log((3 - math.sqrt(5)) / (3 + math.sqrt(5)))
    assert NTK_CONDITION(network, vectors([1, 1], [0, 1], labels=[0, 1])) == pytest.approx(expected, rel=1e-5)


def test_biases_do_not_count():
    plain = nn.Sequential(nn.Flatten(), linear(*ROWS))
    biased = nn.Sequential(nn.Flatten(), nn.Linear(2, 2))
    probe = vectors([1, 0], [0, 2], labels=[0, 1])
    assert NTK_CONDITION(biased, probe) == pytest.approx(NTK_CONDITION(plain, probe))


def test_equal_images_are_as_far_apart_as_float32_can_tell():
    network = nn.Sequential(nn.Flatten(), linear(*ROWS))
    probe = vectors([1, 2], [1, 2], labels=[0, 1])
    assert NTK_CONDITION(network, probe) == pytest.approx(math.log(torch.finfo(torch.float32).eps))


def test_no_gradient_gives_minus_infinity():
    network = nn.Sequential(nn.Flatten(), linear(*ROWS))
    assert NTK_CONDITION(network, vectors([0, 0], [0, 0], labels=[0, 1])) == -math.inf


def test_batch_normalisation_ties_the_images_together():
    # Two values of one channel are normalised to -+1, whatever they are: no gradient reaches the layer before, but
    # for eps. The scale's gradients are then (-1, 1), and the kernel ((1, -1), (-1, 1)) of rank one.
    network = nn.Sequential(nn.Flatten(), linear([1, 0]), nn.BatchNorm1d(1, eps=1e-12))
    found = kernel(network.train(), vectors([1, 0], [5, 3], labels=[0, 0], classes=1).images)
    torch.testing.assert_close(found, torch.tensor([[1, -1], [-1, 1]], dtype=torch.float64), atol=1e-5, rtol=0)
