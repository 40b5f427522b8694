from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from automl_kd.proxies.gradients.snip import SNIP
from tests.proxies.examples import linear, vectors


def test_absolute_values_add_up_over_layers():
    # x = 1, h = 2, logits (2, -2), error (-q, q) with q = 1/(1 + e^4).
    # Second layer: |1 * -q * 2| and |-1 * q * 2|. First: |2 * -2 q|.
    q = 1 / (1 + math.exp(4))
    network = nn.Sequential(nn.Flatten(), linear([2]), linear([1], [-1]))
    assert SNIP(network, vectors([1], labels=[0])) == pytest.approx(8 * q)


def test_biases_do_not_count():
    # Logits equal, error (-1/2, 1/2), x = 1: 3 * 1/2 twice.
    layer = nn.Linear(1, 2)
    layer.weight.data, layer.bias.data = torch.full((2, 1), 3.0), torch.full((2,), 5.0)
    assert SNIP(nn.Sequential(nn.Flatten(), layer), vectors([1], labels=[0])) == pytest.approx(3)


def test_it_is_the_sensitivity_to_a_mask():
    torch.manual_seed(0)
    layer = nn.Linear(3, 4, bias=False)
    probe = vectors([1, 2, -1], [0, 3, 1], labels=[2, 0], classes=4)
    mask = torch.ones(4, 3, requires_grad=True)
    loss = F.cross_entropy(probe.images.flatten(1) @ (layer.weight.detach() * mask).T, probe.labels)
    (sensitivity,) = torch.autograd.grad(loss, mask)
    assert SNIP(nn.Sequential(nn.Flatten(), layer), probe) == pytest.approx(float(sensitivity.abs().sum()))
