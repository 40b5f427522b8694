from __future__ import annotations

import pytest
import torch
from torch import nn

from automl_kd.bilevel.base import detach_tensors
from automl_kd.bilevel.pure import LOGITS_KEY, GeneratorStates, outputs_of, trainable_parameters
from automl_kd.bilevel.tangents import forward_mode
from automl_kd.models.features import FeatureExtractor
from tests.bilevel.problems import TAPS, batch, dropout_net, resnet


def test_outputs_are_those_of_a_training_pass():
    network = resnet()
    images, _ = batch(4, 0)
    found = outputs_of(FeatureExtractor(network, TAPS), images)(trainable_parameters(network))
    wanted = FeatureExtractor(network, TAPS)(images)
    assert set(found) == {LOGITS_KEY, *TAPS}
    assert torch.equal(found[LOGITS_KEY], wanted.logits)
    assert all(torch.equal(found[name], wanted.features[name]) for name in TAPS)


def test_outputs_follow_the_weights_that_are_given():
    network = resnet()
    images, _ = batch(4, 0)
    outputs, weights = outputs_of(FeatureExtractor(network), images), detach_tensors(trainable_parameters(network))
    shifted = {**weights, "fc.bias": weights["fc.bias"] + 2.0}
    torch.testing.assert_close(outputs(shifted)[LOGITS_KEY], outputs(weights)[LOGITS_KEY] + 2.0)


@pytest.mark.parametrize("training", [True, False])
def test_buffers_and_generator_are_untouched_bit_for_bit(training: bool):
    network = dropout_net().train(training)
    images, _ = batch(4, 0)
    weights = detach_tensors(trainable_parameters(network))
    held = {name: id(buffer) for name, buffer in network.named_buffers()}
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    outputs = outputs_of(FeatureExtractor(network), images)
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
    found = outputs_of(FeatureExtractor(network), images)(trainable_parameters(network))[LOGITS_KEY]
    torch.testing.assert_close(found, network(images))
    network.train()
    assert not torch.allclose(
        outputs_of(FeatureExtractor(network), images)(trainable_parameters(network))[LOGITS_KEY], found
    )


def test_dropout_is_that_of_the_pass_it_repeats():
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 200).double(), nn.Dropout(0.5))
    images, _ = batch(4, 0)
    draws = GeneratorStates.now(images.device)
    first, second = network(images), network(images)
    outputs = outputs_of(FeatureExtractor(network), images, draws)
    assert torch.equal(outputs(trainable_parameters(network))[LOGITS_KEY], first)
    assert not torch.equal(first, second)
    values, tangents = forward_mode(
        outputs, detach_tensors(trainable_parameters(network)), detach_tensors(trainable_parameters(network))
    )
    # A linear network is its own derivative along its weights: the tangent shows the same units dropped.
    assert torch.equal(values[LOGITS_KEY], first)
    torch.testing.assert_close(tangents[LOGITS_KEY], first.detach())


def test_the_generator_is_restored_after_an_error():
    draws = GeneratorStates.now(torch.device("cpu"))
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
    outputs = outputs_of(FeatureExtractor(network), images)
    wanted = outputs(trainable_parameters(network))[LOGITS_KEY]
    with torch.autocast("cpu", torch.bfloat16):
        assert network(images).dtype == torch.bfloat16
        assert torch.equal(outputs(trainable_parameters(network))[LOGITS_KEY], wanted)


def test_parameters_that_a_call_does_not_name_keep_their_values():
    network = resnet()
    images, _ = batch(4, 0)
    outputs, every = outputs_of(FeatureExtractor(network), images), detach_tensors(trainable_parameters(network))
    some = {name: value for name, value in every.items() if "stage1" not in name}
    torch.testing.assert_close(outputs(some), outputs(every))


def test_frozen_parameters_are_not_weights():
    network = resnet()
    network.get_parameter("fc.bias").requires_grad_(False)
    assert set(dict(network.named_parameters())) - set(trainable_parameters(network)) == {"fc.bias"}
