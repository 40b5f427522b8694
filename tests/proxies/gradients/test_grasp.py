from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from automl_kd.models import build
from automl_kd.proxies.gradients.grasp import GRASP
from automl_kd.space import Architecture
from search_spaces import nasbench201
from tests.proxies.examples import GREY, example_probe, linear, vectors


def test_two_classes_by_hand():
    # One weight for each of two logits, x = 1, w = (a, 0), label 0. Softmax (p, 1 - p) with p = 1/(1 + e^-a).
    # g = (p - 1, 1 - p); H = p (1 - p) ((1, -1), (-1, 1)). H g = 2 p (1 - p)^2 (-1, 1), and -w^T H g = 2 a p (1 - p)^2.
    p = 1 / (1 + math.exp(-3))
    network = nn.Sequential(nn.Flatten(), linear([3], [0]))
    assert GRASP(network, vectors([1], labels=[0])) == pytest.approx(2 * 3 * p * (1 - p) ** 2)


def test_it_equals_the_product_with_the_whole_hessian():
    torch.manual_seed(0)
    first, second = nn.Linear(3, 2, bias=False).double(), nn.Linear(2, 4, bias=False).double()
    network = nn.Sequential(nn.Flatten(), first, nn.Softplus(), second)
    probe = vectors([1, 2, -1], [0, 3, 1], labels=[2, 0], classes=4)
    object.__setattr__(probe, "images", probe.images.double())

    def loss(flat: torch.Tensor) -> torch.Tensor:
        hidden = F.softplus(probe.images.flatten(1) @ flat[:6].view(2, 3).T)
        return F.cross_entropy(hidden @ flat[6:].view(4, 2).T, probe.labels)

    w = torch.cat([first.weight.flatten(), second.weight.flatten()]).detach()
    hessian = torch.autograd.functional.hessian(loss, w)
    gradient = torch.autograd.functional.jacobian(loss, w)
    assert GRASP(network, probe) == pytest.approx(float(-w @ hessian @ gradient))


def test_a_network_free_of_scale_gives_the_squared_gradient():
    # L(c w) = L(w) for all c > 0, so H w = -g, and -w^T H g = g^T g.
    torch.manual_seed(0)
    layer, norm = nn.Linear(3, 2, bias=False), nn.BatchNorm1d(2, eps=1e-12)
    network = nn.Sequential(nn.Flatten(), layer, norm)
    probe = vectors([1, 2, -1], [0, 3, 1], [2, -1, 0], [-1, 0, 2], labels=[0, 1, 1, 0])
    (gradient,) = torch.autograd.grad(F.cross_entropy(network(probe.images), probe.labels), layer.weight)
    assert GRASP(network, probe) == pytest.approx(float(gradient.square().sum()), rel=1e-4)


def test_weights_that_play_no_part_count_nothing():
    network = nn.Sequential(nn.Flatten(), linear([3], [0]))
    alone = GRASP(network, vectors([1], labels=[0]))
    network[0].register_module("idle", linear([1, 1]))
    assert GRASP(network, vectors([1], labels=[0])) == alone


def test_float32_is_precise_enough():
    # Double backward through many layers, against float64.
    student = build(nasbench201.SMALL_SPACE, Architecture.of(nasbench201.DEFAULT), GREY, seed=0)
    probe = example_probe(GREY, batch=16, teacher=None)
    value = GRASP(student, probe)
    object.__setattr__(probe, "images", probe.images.double())
    assert value == pytest.approx(GRASP(student.double(), probe), rel=1e-3)
