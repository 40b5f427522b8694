"""Stages of networks from elsewhere, by the stride of their maps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from automl_kd.models import build_model
from automl_kd.models.features import FeatureExtractor, FeatureLayer, find_feature, list_feature_layers
from automl_kd.models.foreign.adoption import adopt
from automl_kd.models.foreign.discovery import discover_layers
from automl_kd.models.input_adapter import InputAdapter, adapt
from automl_kd.space import InputShape

STAGES = ("stage1", "stage2", "stage3", "stage4")


def stages(name: str, side: int) -> list[tuple[str, str]]:
    shape = InputShape(3, side, side, 10)
    found = discover_layers(build_model(name, shape), shape)
    return [found[stage] for stage in STAGES if stage in found]


@pytest.mark.parametrize("side", [33, 64, 224])
@pytest.mark.parametrize(
    ("name", "modules"),
    [
        ("torchvision:resnet18", ["layer1", "layer2", "layer3", "layer4"]),
        ("torchvision:mobilenet_v2", ["features.3", "features.6", "features.13", "features"]),
        ("torchvision:mobilenet_v3_small", ["features.1", "features.3", "features.8", "features"]),
    ],
)
def test_stages_end_before_the_block_that_strides(name, modules, side):
    assert stages(name, side) == [(module, "output") for module in modules]


def test_squeezing_branches_are_no_stages_and_activations_have_an_input():
    shape = InputShape(3, 96, 96, 10)
    model = build_model("torchvision:resnet18", shape)
    assert find_feature(model, "stage3.pre") == FeatureLayer("layer3.1.relu", "input")
    assert find_feature(model, "pooled") == FeatureLayer("fc", "input")
    assert find_feature(model, "pre_pool") == FeatureLayer("avgpool", "input")
    squeezing = build_model("torchvision:efficientnet_b0", shape)
    with FeatureExtractor(squeezing, STAGES) as extractor, torch.no_grad():
        outputs = extractor(torch.zeros(2, 3, 96, 96))
    assert [outputs.features[stage].shape[2] for stage in STAGES] == [24, 12, 6, 3]


def test_networks_for_small_images_are_counted_from_their_first_map():
    shape = InputShape(3, 32, 32, 10)
    own = build_model("resnet20", shape)
    found = discover_layers(own, shape)
    listed = list_feature_layers(own)
    for name in ("stage1", "stage2", "stage3", "stage1.pre", "stage3.pre"):
        assert FeatureLayer(*found[name]) == listed[name], name


def test_a_pool_that_enlarges_is_no_map_of_a_stage():
    found = stages("torchvision:vgg11_bn", 64)
    assert found == [
        ("features.13", "output"),
        ("features.20", "output"),
        ("features.27", "output"),
        ("features", "output"),
    ]


@pytest.mark.parametrize(
    ("name", "stage"), [("torchvision:shufflenet_v2_x0_5", "stage2"), ("torchvision:squeezenet1_1", "stage1")]
)
def test_half_of_a_stage_is_not_what_comes_before_its_activation(name, stage):
    shape = InputShape(3, 64, 64, 10)
    model = build_model(name, shape)
    with FeatureExtractor(model, (stage, f"{stage}.pre", "pre_pool")) as extractor, torch.no_grad():
        features = extractor(torch.zeros(2, 3, 64, 64)).features
    assert features[stage].shape == features[f"{stage}.pre"].shape
    assert features["pre_pool"].shape[1] != shape.classes


def test_maps_with_channels_last_are_no_stages():
    assert stages("torchvision:swin_t", 64) == []


def test_networks_of_tokens_have_a_vector_and_no_stages():
    shape = InputShape(3, 32, 32, 10)
    assert list(discover_layers(build_model("torchvision:vit_b_16", shape), shape)) == ["pooled"]


class Moody(nn.Module):
    """Draws in a pass, has running statistics, and one layer in a mode of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 10)
        self.norm.eval()

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.fc(torch.rand(()) * self.norm(self.conv(x)).mean((2, 3)))
        return made


def test_a_network_is_left_as_it_was():
    model, shape = Moody(), InputShape(3, 16, 16, 10)
    adopt(model, shape)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(0)
    drawn = torch.rand(3)
    torch.manual_seed(0)
    assert {"stage1", "pooled"} <= set(discover_layers(model, shape))
    assert torch.equal(torch.rand(3), drawn)
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert (model.training, model.norm.training) == (True, False)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.children())


def test_strides_are_those_of_the_images_that_the_network_sees():
    shape = InputShape(3, 32, 32, 10)
    model = adapt(build_model("torchvision:resnet18", shape), InputAdapter(size=128))
    with FeatureExtractor(model, STAGES) as extractor, torch.no_grad():
        outputs = extractor(torch.zeros(2, 3, 32, 32))
    assert [outputs.features[stage].shape[2] for stage in STAGES] == [32, 16, 8, 4]
    assert [find_feature(model, stage).module for stage in STAGES] == ["layer1", "layer2", "layer3", "layer4"]


class Picky(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise AssertionError(f"no {len(x)} images, please")


def test_a_network_that_no_pass_suits_has_no_layers():
    assert list_feature_layers(adopt(Picky(), InputShape(3, 8, 8, 2))) == {}
