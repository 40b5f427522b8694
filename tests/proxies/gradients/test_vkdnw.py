from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from automl_kd.models import build
from automl_kd.proxies.gradients.vkdnw import TENSORS, UNIFORM, VKDNW, entropy, fisher_matrix, jacobian, kaiming_weights
from automl_kd.proxies.passes import Passes
from automl_kd.proxies.separate import by_fresh_statistics, separate
from automl_kd.space import Architecture, InputShape
from search_spaces import nasbench201
from tests.proxies.examples import linear, vectors

SHAPE = InputShape(1, 8, 8, 10)


def images(count: int) -> Tensor:
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_entropy_by_hand():
    # Deciles of 0 .. 10 are 1 .. 9, with the sum 45.
    expected = -sum(k / 45 * math.log(k / 45) for k in range(1, 10))
    assert float(entropy(torch.arange(11.0))) == pytest.approx(expected, rel=1e-6)


def test_entropy_is_largest_for_equal_eigenvalues_and_none_where_one_has_all():
    assert float(entropy(torch.full((20,), 0.3))) == pytest.approx(math.log(9))
    assert float(entropy(torch.tensor([0.0] * 10 + [1.0]))) == 0
    assert float(entropy(torch.zeros(5))) == 0


def test_fisher_information_by_hand():
    # Logits 0, so p = (1/2, 1/2) with or without a part of the uniform distribution; rows (3, 0) and (1, 2) differ by
    # (2, -2), and the covariance is a quarter of its square.
    rows = torch.tensor([[[3.0, 0.0], [1.0, 2.0]]])
    torch.testing.assert_close(fisher_matrix(rows, torch.zeros(1, 2)), torch.tensor([[1.0, -1.0], [-1.0, 1.0]]))


def test_predictions_that_are_certain_keep_a_part_of_the_uniform_distribution():
    # p = (1 - u/2, u/2): variance of rows 1 and 0.
    found = fisher_matrix(torch.tensor([[[1.0], [0.0]]]), torch.tensor([[100.0, 0.0]]))
    assert float(found) == pytest.approx((1 - UNIFORM / 2) * UNIFORM / 2)


def test_one_layer_by_hand():
    # One tensor, so one eigenvalue, all deciles of which are equal.
    network = nn.Sequential(nn.Flatten(), linear([1, 0], [0, 1]))
    assert VKDNW(network, vectors([3, 4], [1, 2], labels=[0, 0])) == pytest.approx(1 + math.log(9))


@pytest.mark.parametrize("tensors", [TENSORS, 5])
def test_the_jacobian_is_that_of_single_images(monkeypatch, tensors):
    monkeypatch.setattr("automl_kd.proxies.gradients.vkdnw.TENSORS", tensors)
    space = nasbench201.space(4, 1)
    student = build(space, Architecture.of(space.default), SHAPE, seed=0).double().eval()
    logits, runs = separate(student, images(3), by_fresh_statistics)
    found = jacobian(logits, runs)
    layers = [(run.layer, name) for run in runs for name in ("weight", "bias")]
    every = [getattr(layer, name) for layer, name in layers if getattr(layer, name) is not None]
    count = min(tensors, len(every))
    places = [round(place * (len(every) - 1) / (count - 1)) for place in range(count)]
    assert found.shape == (3, 10, count)
    outputs = student(images(3))
    for image in range(3):
        for k in range(10):
            alone = torch.autograd.grad(outputs[image, k], every, retain_graph=True)
            expected = torch.stack([alone[place].flatten()[0] for place in places])
            torch.testing.assert_close(found[image, k], expected)


def test_strides_and_padding_are_heeded():
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 3, 3, stride=2, padding=1), nn.ReLU(inplace=True), nn.Conv2d(3, 2, (3, 1), stride=(1, 2))
    student = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 4)).double()
    logits, runs = separate(student, images(2), by_fresh_statistics)
    every = list(student.parameters())
    for image in range(2):
        alone = [torch.autograd.grad(student(images(2))[image, k], every) for k in range(4)]
        expected = torch.stack([torch.stack([one.flatten()[0] for one in row]) for row in alone])
        torch.testing.assert_close(jacobian(logits, runs)[image], expected)


def test_weights_are_redrawn_by_kaimings_rule_whatever_they_were():
    probe = vectors([3, 4], [1, 2], labels=[0, 0])
    one, two = (nn.Sequential(nn.Flatten(), nn.Linear(2, 4000), nn.Linear(4000, 2)) for _ in range(2))
    drawn = kaiming_weights(Passes(one, probe))
    assert float(drawn["1.weight"].detach().std()) == pytest.approx(1, rel=0.05)  # 2 inputs: variance 1
    assert float(drawn["2.weight"].detach().std()) == pytest.approx(math.sqrt(2 / 4000), rel=0.05)
    assert not drawn["1.bias"].any()
    assert VKDNW(one, probe) == VKDNW(two, probe)


def test_layers_come_first():
    space = nasbench201.space(4, 1)
    deep, shallow = dict(space.default), {**space.default, "2<-1": "skip_connect"}
    probe = vectors([0, 0], labels=[0])
    probe = type(probe)(images(16).float(), torch.arange(16) % 10, SHAPE)
    more, fewer = (VKDNW(build(space, Architecture.of(one), SHAPE, seed=0).train(), probe) for one in (deep, shallow))
    # Three cells, each with a convolution and its normalisation less: three tensors each.
    assert 9 - math.log(9) < more - fewer < 9 + math.log(9)
