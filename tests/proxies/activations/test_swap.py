from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from automl_kd.errors import ConfigError
from automl_kd.proxies.activations.swap import SAMPLES, SWAP, SWAP_REGULARISED, patterns, regularised
from tests.proxies.examples import linear, vectors

IDENTITY = ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0])


def network() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), linear(*IDENTITY), nn.ReLU())


def test_a_unit_is_the_set_of_images_that_switch_it_on():
    # Units on for both images, for the second and for none: 1 + 2, 2, 0.
    units = torch.tensor([[1, 0, 0], [1, 1, 0]], dtype=torch.int8)
    assert patterns(units).tolist() == [3, 2, 0]


def test_three_units_by_hand():
    # On for both, for none, for the first: three patterns.
    assert SWAP(network(), vectors([1, -1, 1], [2, -3, -1], labels=[0, 1])) == 3


def test_units_that_answer_alike_count_once():
    # The first two are on for both images.
    assert SWAP(network(), vectors([1, 2, 1], [2, 3, -1], labels=[0, 1])) == 2


def test_patterns_of_different_layers_are_one_set():
    # The second layer repeats the first.
    twice = nn.Sequential(*network(), linear(*IDENTITY), nn.ReLU())
    assert SWAP(twice, vectors([1, -1, 1], [2, -3, -1], labels=[0, 1])) == 3


def test_images_after_the_sixteenth_do_not_count():
    # The units differ in the last image only.
    alike = [[1.0, 1.0, 1.0]] * SAMPLES
    assert SWAP(network(), vectors(*alike, [1, -1, 1], labels=[0] * (SAMPLES + 1))) == 1


def test_regularised_by_hand():
    # 9 weights are 0.009 thousand: log 3 - (0.009 - 2)^2 / 4.
    probe = vectors([1, -1, 1], [2, -3, -1], labels=[0, 1])
    assert regularised(2.0, 4.0)(network(), probe) == pytest.approx(math.log(3) - (0.009 - 2) ** 2 / 4)


def test_an_empty_network_is_regularised_by_1_over_e():
    probe = vectors([1, -1, 1], [2, -3, -1], labels=[0, 1])
    assert SWAP_REGULARISED(nn.Sequential(nn.Flatten(), nn.ReLU()), probe) == pytest.approx(math.log(3) - 1)


def test_a_network_without_rectifiers_is_refused():
    with pytest.raises(ConfigError, match=r"swap found no rectifier.*leave swap out"):
        SWAP(nn.Sequential(nn.Flatten(), linear(*IDENTITY)), vectors([1, 2, 3], labels=[0]))


def test_sigma_must_be_positive():
    with pytest.raises(ValueError, match=r"above 0, got 0\.0"):
        regularised(1.0, 0.0)
