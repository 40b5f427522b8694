"""What proxies are shown: each pass run once, and right."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from automl_kd.models import build
from automl_kd.proxies.hooks import blocks_of
from automl_kd.proxies.passes import Passes
from automl_kd.proxies.probe import Probe
from automl_kd.space import Architecture
from search_spaces import nasbench201
from tests.proxies.examples import GREY, example_probe, linear, vectors

CELLS = nasbench201.space(4, 1)


def student() -> nn.Module:
    return build(CELLS, Architecture.of(CELLS.default), GREY, seed=0).train()


def test_each_pass_runs_once():
    network, probe = student(), example_probe()
    passes = Passes(network, probe, ["weight_gradients", "layer_gradients", "input_gradient", "relus"])
    runs = []
    network.register_forward_hook(lambda *_: runs.append(1))
    for _ in range(3):
        assert passes.weight_gradients
        assert passes.layer_gradients
        assert passes.forward.relus
        assert passes.input_gradient.shape == probe.images.shape
    assert len(runs) == 1
    assert set(passes.times) == passes.used == {"forward", "backward", "input backward"}


def test_gradients_are_those_of_a_plain_backward_pass():
    network, probe = student(), example_probe()
    passes = Passes(network, probe, ["weight_gradients", "layer_gradients"])
    loss = F.cross_entropy(network(probe.images), probe.labels)
    wanted = torch.autograd.grad(loss, [weight for weight in network.parameters() if weight.ndim > 1])
    for (_, found), expected in zip(passes.weight_gradients, wanted, strict=True):
        torch.testing.assert_close(found, expected)
    assert [one.output.shape for one in passes.layer_gradients] == [made.shape for made in passes.forward.layers]
    # The last layer's output is the logits: (softmax - one hot) / batch.
    last = passes.layer_gradients[-1].gradient
    error = passes.outputs.logits.softmax(1) - F.one_hot(probe.labels, GREY.classes)
    torch.testing.assert_close(last, error / len(probe.labels))


def test_a_gradient_of_the_input_by_hand():
    # logits (x1 + 2 x2, 3 x1): the sum has the gradient (4, 2) for every image.
    passes = Passes(linear_on_images([1.0, 2.0], [3.0, 0.0]), two_images(), ["input_gradient"])
    torch.testing.assert_close(passes.input_gradient.flatten(1), torch.tensor([[4.0, 2.0], [4.0, 2.0]]))


def test_synaptic_flow_by_hand():
    # |w| = (1, 2; 3, 4), input of ones, R = sum of all logits: dR/d|w| is one everywhere, so the products are |w|.
    passes = Passes(linear_on_images([1.0, -2.0], [-3.0, 4.0]), two_images())
    ((absolute, gradient),) = passes.synaptic_flow
    assert (absolute * gradient).flatten().tolist() == [1.0, 2.0, 3.0, 4.0]
    assert absolute.dtype == torch.float64


def test_without_a_gradient_no_graph_is_kept():
    assert not Passes(student(), example_probe(), ["relus"]).outputs.logits.requires_grad
    assert Passes(student(), example_probe(), ["graph"]).outputs.logits.requires_grad


def test_blocks_are_the_stem_and_the_members_of_stages():
    names = blocks_of(student())
    assert names == ["stem", "stage1.0", "stage2.0", "stage2.1", "stage3.0", "stage3.1"]
    passes = Passes(student(), example_probe(), ["blocks", "stages"])
    assert len(passes.forward.blocks) == 6
    assert passes.feature("stage3") is passes.forward.blocks[-1]


def test_random_numbers_depend_on_name_and_seed_only():
    one, other = (Passes(student(), example_probe(), seed=seed) for seed in (0, 1))
    draw = [torch.rand(3, generator=each) for each in (one.generator("a"), one.generator("a"), other.generator("a"))]
    assert torch.equal(draw[0], draw[1])
    assert not torch.equal(draw[0], draw[2])


def linear_on_images(*rows: list[float]) -> nn.Module:
    return nn.Sequential(nn.Flatten(), linear(*rows))


def two_images() -> Probe:
    return vectors([1.0, 5.0], [2.0, 7.0], labels=[0, 1])
