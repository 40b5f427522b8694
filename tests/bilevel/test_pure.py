from __future__ import annotations

import pytest
import torch
from torch import nn

from automl_kd.bilevel.base import detached
from automl_kd.bilevel.pure import LOGITS, Draws, outputs_of, weights_of
from automl_kd.bilevel.tangents import forward_mode
from automl_kd.models.features import Tapped
from tests.bilevel.problems import TAPS, batch, dropout_net, resnet


def test_outputs_are_those_of_a_training_pass():
    network = resnet()
    images, _ = batch(4, 0)
    found = outputs_of(Tapped(network, TAPS), images)(weights_of(network))
    wanted = Tapped(network, TAPS)(images)
    assert set(found) == {LOGITS, *TAPS}
    assert torch.equal(found[LOGITS], wanted.logits)
    assert all(torch.equal(found[name], wanted.features[name]) for name in TAPS)


def test_outputs_follow_the_weights_that_are_given():
    network = resnet()
    images, _ = batch(4, 0)
    outputs, weights = outputs_of(Tapped(network), images), detached(weights_of(network))
    shifted = {**weights, "fc.bias": weights["fc.bias"] + 2.0}
    torch.testing.assert_close(outputs(shifted)[LOGITS], outputs(weights)[LOGITS] + 2.0)


@pytest.mark.parametrize("training", [True, False])
def test_buffers_and_generator_are_untouched_bit_for_bit(training: bool):
    network = dropout_net().train(training)
    images, _ = batch(4, 0)
    weights = detached(weights_of(network))
    held = {name: id(buffer) for name, buffer in network.named_buffers()}
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    outputs = outputs_of(Tapped(network), images)
    torch.rand(3)
    generator = torch.get_rng_state()
    outputs(weights)
    forward_mode(outputs, weights, weights)
    after = dict(network.named_buffers())
    assert {name: id(buffer) for name, buffer in after.items()} == held
    assert all(torch.equal(after[name], buffer) for name, buffer in before.items())
    assert torch.equal(torch.get_rng_state(), generator)


def test_evaluation_mode_keeps_to_running_statistics():
    network = resnet().eval()
    images, _ = batch(4, 0)
    found = outputs_of(Tapped(network), images)(weights_of(network))[LOGITS]
    torch.testing.assert_close(found, network(images))
    network.train()
    assert not torch.allclose(outputs_of(Tapped(network), images)(weights_of(network))[LOGITS], found)


def test_dropout_is_that_of_the_pass_it_repeats():
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 200).double(), nn.Dropout(0.5))
    images, _ = batch(4, 0)
    draws = Draws.now(images.device)
    first, second = network(images), network(images)
    outputs = outputs_of(Tapped(network), images, draws)
    assert torch.equal(outputs(weights_of(network))[LOGITS], first)
    assert not torch.equal(first, second)
    values, tangents = forward_mode(outputs, detached(weights_of(network)), detached(weights_of(network)))
    # A linear network is its own derivative along its weights: the tangent shows the same units dropped.
    assert torch.equal(values[LOGITS], first)
    torch.testing.assert_close(tangents[LOGITS], first.detach())


def test_the_generator_is_restored_after_an_error():
    draws = Draws.now(torch.device("cpu"))
    torch.rand(5)
    generator = torch.get_rng_state()

    def fail(_weights):
        torch.rand(2)
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"), draws.replayed():
        fail({})
    assert torch.equal(torch.get_rng_state(), generator)


def test_autocast_around_the_call_does_not_lower_its_precision():
    network = resnet(torch.float32)
    images, _ = batch(4, 0, torch.float32)
    outputs = outputs_of(Tapped(network), images)
    wanted = outputs(weights_of(network))[LOGITS]
    with torch.autocast("cpu", torch.bfloat16):
        assert network(images).dtype == torch.bfloat16
        assert torch.equal(outputs(weights_of(network))[LOGITS], wanted)


def test_parameters_that_a_call_does_not_name_keep_their_values():
    network = resnet()
    images, _ = batch(4, 0)
    outputs, every = outputs_of(Tapped(network), images), detached(weights_of(network))
    some = {name: value for name, value in every.items() if "stage1" not in name}
    torch.testing.assert_close(outputs(some), outputs(every))


def test_frozen_parameters_are_not_weights():
    network = resnet()
    network.get_parameter("fc.bias").requires_grad_(False)
    assert set(dict(network.named_parameters())) - set(weights_of(network)) == {"fc.bias"}
