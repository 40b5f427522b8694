from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from automl_kd.errors import ConfigError
from automl_kd.proxies.gradients.zico import ZICO, layer_score
from tests.proxies.examples import linear, vectors


def test_layer_score_by_hand():
    # Gradients 1 and 3: mean 2, standard deviation 1. Gradients -1 and 1: mean of absolute values 1, deviation 1.
    # Gradients 5 and 5 do not vary. log(2/1 + 1/1).
    found = layer_score(torch.tensor([1.0, -1.0, 5.0]), torch.tensor([3.0, 1.0, 5.0]))
    assert float(found) == pytest.approx(math.log(3))


def test_a_layer_that_does_not_vary_counts_nothing():
    assert float(layer_score(torch.ones(2), torch.ones(2))) == 0
    assert float(layer_score(torch.zeros(2), torch.zeros(2))) == 0


def test_two_halves_of_a_batch_by_hand():
    # Logits 0, label 0: error (-1/2, 1/2) times x. Images 1 and 3: gradients (-1/2, 1/2) and (-3/2, 3/2), means of
    # absolute values 1, deviations 1/2. log(2 + 2).
    network = nn.Sequential(nn.Flatten(), linear([0], [0]))
    assert ZICO(network, vectors([1], [3], labels=[0, 0])) == pytest.approx(math.log(4))


def test_an_odd_image_goes_to_the_first_half():
    # First half 1 and 3, mean gradient as of x = 2; second half 6: (1/2 * (2 + 6)/2) / (1/2 * (6 - 2)/2) = 2, twice.
    network = nn.Sequential(nn.Flatten(), linear([0], [0]))
    assert ZICO(network, vectors([1], [3], [6], labels=[0, 0, 0])) == pytest.approx(math.log(4))


def test_layers_add_up_and_those_without_part_do_not_count():
    # A first layer that hands x on, a second of zeros: no gradient reaches the first, the second is as above.
    network = nn.Sequential(nn.Flatten(), linear([1]), linear([0], [0]))
    network[0].register_module("idle", linear([1, 1]))
    assert ZICO(network, vectors([1], [3], labels=[0, 0])) == pytest.approx(math.log(4))


def test_batch_normalisation_sees_a_half_at_a_time():
    # Halves (0, 2) and (10, 14) look alike to it: -1 and 1 each, as its epsilon is nothing beside their variances. So
    # the gradients do not vary.
    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(1, eps=1e-12), linear([0], [0]))
    assert ZICO(network, vectors([0], [2], [10], [14], labels=[0, 1, 0, 1])) == 0


def test_one_image_is_refused():
    with pytest.raises(ConfigError, match="batch of at least 2"):
        ZICO(nn.Sequential(nn.Flatten(), linear([0], [0])), vectors([1], labels=[0]))
