from __future__ import annotations

from torch import nn

from automl_kd.models.costs.cost import count_cost
from automl_kd.proxies.counts.macs import macs
from automl_kd.proxies.counts.params import params
from automl_kd.space import InputShape

SHAPE = InputShape(channels=1, height=4, width=4, classes=2)


def test_counts_by_hand():
    # Convolution: 3 filters of 1 * 3 * 3 and 3 biases, 27 products at each of 16 places. Classifier: 3 * 16 * 2 + 2.
    cost = count_cost(nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.Flatten(), nn.Linear(48, 2)), SHAPE)
    assert params(cost) == 27 + 3 + 96 + 2
    assert macs(cost) == 27 * 16 + 96


def test_a_shared_parameter_counts_once():
    layer = nn.Linear(16, 16)
    assert params(count_cost(nn.Sequential(nn.Flatten(), layer, layer), SHAPE)) == 272
