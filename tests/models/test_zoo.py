"""Every model of the zoo: sizes known from the literature, shapes, and taps that keep their promise."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from automl_kd.models import MODELS, build_model
from automl_kd.models.blocks import convolution, global_pool, initialise
from automl_kd.models.costs.cost import count_cost
from automl_kd.models.features import FeatureExtractor, list_feature_layers
from automl_kd.models.imagenet.published import PUBLISHED_MOBILE
from automl_kd.models.resnet import ResNet, bottleneck
from automl_kd.models.vgg import VGG
from automl_kd.models.wide_resnet import WideResNet
from automl_kd.space import InputShape

CIFAR10, CIFAR100 = InputShape(3, 32, 32, 10), InputShape(3, 32, 32, 100)
SMALL = ("resnet8", "resnet20", "wrn-16-1", "wrn-16-2", "vgg8")


# As the distillation literature states them for 100 classes, in millions.
MILLIONS = {
    "resnet8": 0.08,
    "resnet14": 0.18,
    "resnet20": 0.28,
    "resnet32": 0.47,
    "resnet44": 0.67,
    "resnet56": 0.86,
    "resnet110": 1.74,
    "resnet8x4": 1.23,
    "resnet32x4": 7.43,
    "wrn-16-1": 0.18,
    "wrn-16-2": 0.70,
    "wrn-40-1": 0.57,
    "wrn-40-2": 2.26,
    "vgg8": 3.96,
    "vgg13": 9.46,
}


@pytest.mark.parametrize("name", MILLIONS)
def test_parameters_are_those_of_the_literature(name):
    params = sum(parameter.numel() for parameter in build_model(name, CIFAR100).parameters())
    assert round(params / 1e6, 2) == MILLIONS[name]


def test_resnet8_by_hand():
    # stem 3*16*9 + 32; each stage: two 3x3 convolutions, two norms; stages 2 and 3 also a 1x1 projection and its norm
    stem = 3 * 16 * 9 + 2 * 16
    stage1 = 2 * (16 * 16 * 9 + 2 * 16)
    stage2 = 16 * 32 * 9 + 32 * 32 * 9 + 16 * 32 + 3 * 2 * 32
    stage3 = 32 * 64 * 9 + 64 * 64 * 9 + 32 * 64 + 3 * 2 * 64
    cost = count_cost(build_model("resnet8", CIFAR10), CIFAR10)
    assert cost.params == stem + stage1 + stage2 + stage3 + 64 * 10 + 10


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("shape", [InputShape(1, 8, 8, 10), InputShape(3, 32, 32, 5), InputShape(2, 9, 13, 3)])
def test_logits_and_taps_for_any_image(name, shape):
    model = build_model(name, shape)
    with FeatureExtractor(model, list(list_feature_layers(model))) as tapped:
        outputs = tapped(torch.randn(2, shape.channels, shape.height, shape.width))
    assert outputs.logits.shape == (2, shape.classes)
    assert outputs.features["pooled"].ndim == 2
    torch.testing.assert_close(outputs.features["pre_pool"].mean((2, 3)), outputs.features["pooled"])
    torch.testing.assert_close(model.get_submodule("fc")(outputs.features["pooled"]), outputs.logits)


@pytest.mark.parametrize("name", sorted(set(MODELS) - set(PUBLISHED_MOBILE)))  # whose bottlenecks are linear
def test_a_stage_is_the_activation_of_what_came_before_it(name):
    model = build_model(name, InputShape(3, 8, 8, 10))
    names = list_feature_layers(model)
    stages = [tap for tap in names if tap.startswith("stage") and not tap.endswith(".pre")]
    assert stages == [f"stage{number}" for number in range(1, len(stages) + 1)]
    assert len(stages) >= 3
    with FeatureExtractor(model, list(names)) as tapped:
        features = tapped(torch.randn(2, 3, 8, 8)).features
    for stage in stages:
        assert features[f"{stage}.pre"].min() < 0
        torch.testing.assert_close(features[stage], features[f"{stage}.pre"].relu())
    torch.testing.assert_close(features[stages[-1]], features["pre_pool"])


@pytest.mark.parametrize("name", ["resnet20", "wrn-16-2", "vgg8"])
def test_one_module_per_activation_and_none_in_place(name):
    model = build_model(name, InputShape(3, 8, 8, 10))
    runs: dict[nn.Module, int] = {}
    activations = [module for module in model.modules() if isinstance(module, nn.ReLU)]
    for module in activations:
        assert not module.inplace
        module.register_forward_hook(lambda module, _given, _made: runs.update({module: runs.get(module, 0) + 1}))
    model(torch.randn(1, 3, 8, 8))
    assert runs == dict.fromkeys(activations, 1)


def test_activations_of_resnet20_and_wrn_16():
    # 1 stem + 9 blocks of 2; 6 blocks of 2 + 1 at the end
    counts = [
        sum(isinstance(module, nn.ReLU) for module in build_model(name, CIFAR10).modules())
        for name in ("resnet20", "wrn-16-2")
    ]
    assert counts == [19, 13]


def test_a_residual_block_without_its_body_is_an_activation():
    model = ResNet(CIFAR10, [1], [4, 4]).eval()
    block = model.get_submodule("stage1.0")
    nn.init.zeros_(block.get_submodule("body.4").weight)  # type: ignore[arg-type]  # a norm's scale is a tensor
    x = torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(block(x), x.relu())


def test_a_bottleneck_by_hand():
    # 8 to 16 at stride 2, inner width 4: 8*4 + 4*4*9 + 4*16, norms 2*(4 + 4 + 16), shortcut 8*16 + 2*16
    block = bottleneck(8, 16, 2, reduction=4)
    assert sum(parameter.numel() for parameter in block.parameters()) == 32 + 144 + 64 + 48 + 128 + 32
    assert block(torch.randn(1, 8, 6, 6)).shape == (1, 16, 3, 3)


@pytest.mark.parametrize(("side", "poolings"), [(7, 0), (8, 1), (16, 2), (32, 3), (64, 4)])
def test_vgg_halves_maps_down_to_four(side, poolings):
    model = VGG(InputShape(3, side, side, 2), 1)
    assert sum(isinstance(module, nn.MaxPool2d) for module in model.modules()) == poolings


def test_wrong_shapes_of_networks_are_refused():
    with pytest.raises(ValueError, match="one more width than depths"):
        ResNet(CIFAR10, [1, 1], [16, 16])
    with pytest.raises(ValueError, match="depths of at least 1"):
        ResNet(CIFAR10, [1, 0], [16, 16, 32])
    with pytest.raises(ValueError, match="depth of 10, 16, 22"):
        WideResNet(CIFAR10, 15, 1)


def test_he_initialisation_keeps_the_variance_of_the_fan_out():
    # variance 2 / (outputs * 9), checked on 64 * 64 * 9 draws
    torch.manual_seed(0)
    layer = convolution(64, 64, 3)
    initialise(layer)
    assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / (64 * 9)), rel=0.02)


def test_biases_of_convolutions_begin_at_zero():
    layer = nn.Conv2d(2, 3, 1, bias=True)
    initialise(layer)
    assert layer.bias is not None
    assert layer.bias.tolist() == [0.0, 0.0, 0.0]


def test_global_pool_by_hand():
    # the mean of 0, 1, 2, 3
    assert global_pool()(torch.arange(4.0).view(1, 1, 2, 2)).tolist() == [[1.5]]


def test_a_model_can_be_copied():
    model = build_model("resnet8", CIFAR10).eval()
    x = torch.randn(1, 3, 32, 32)
    twin = copy.deepcopy(model)
    torch.testing.assert_close(twin(x), model(x))
    assert list_feature_layers(twin) == list_feature_layers(model)
