"""Names to networks, references to spaces, points to seeded students."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from automl_kd.errors import ConfigError, DataError, InfeasibleArchitectureError, UnknownNameError
from automl_kd.models import MODELS, build, build_model, load_space
from automl_kd.models.features import FeatureExtractor, list_feature_layers
from automl_kd.space import Architecture, InputShape, enumerate_all
from search_spaces.resnet_depth import SPACE

SHAPE = InputShape(1, 8, 8, 10)


def linear(shape: InputShape) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(shape.channels * shape.height * shape.width, shape.classes))


def nothing(_shape: InputShape) -> None:
    return None


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_an_unknown_model_suggests():
    with pytest.raises(UnknownNameError, match="no model is called 'resnett20'; did you mean 'resnet20'"):
        build_model("resnett20", SHAPE)


def test_a_function_of_the_users():
    model = build_model(f"{__name__}:linear", SHAPE)
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize(("attribute", "said"), [("nothing", "returned a NoneType"), ("SHAPE", "of type InputShape")])
def test_a_reference_that_builds_no_network(attribute, said):
    with pytest.raises(ConfigError, match=said):
        build_model(f"{__name__}:{attribute}", SHAPE)


@pytest.mark.parametrize("channels", [1, 3])
def test_torchvision(channels):
    shape = InputShape(channels, 32, 32, 7)
    model = build_model("torchvision:resnet18", shape).eval()
    assert sorted(list_feature_layers(model)) == [
        "avgpool",
        "layer1",
        "layer2",
        "layer3",
        "layer4",
        "pooled",
        "pre_pool",
        *sorted(f"stage{number}{end}" for number in (1, 2, 3, 4) for end in ("", ".pre")),
        "stem",
    ]
    with FeatureExtractor(model, list(list_feature_layers(model))) as tapped:
        outputs = tapped(torch.randn(2, channels, 32, 32))
    assert outputs.logits.shape == (2, 7)
    assert outputs.features["pooled"].shape == (2, 512)
    assert outputs.features["layer3"].shape == (2, 256, 2, 2)


def test_a_grey_image_is_the_colour_image_of_three_equal_channels():
    torch.manual_seed(0)
    grey = build_model("torchvision:resnet18", InputShape(1, 32, 32, 7)).eval()
    colour = build_model("torchvision:resnet18", InputShape(3, 32, 32, 7)).eval()
    colour.load_state_dict(grey.state_dict())
    x = torch.randn(1, 1, 32, 32)
    torch.testing.assert_close(grey(x), colour(x.repeat(1, 3, 1, 1)))


def test_torchvision_says_what_it_cannot_do():
    with pytest.raises(UnknownNameError, match="no classifier called 'resnet19'; did you mean 'resnet18'"):
        build_model("torchvision:resnet19", SHAPE)
    with pytest.raises(DataError, match="these have 4"):
        build_model("torchvision:resnet18", InputShape(4, 32, 32, 2))


def test_a_model_is_a_space_of_one_point():
    space = load_space("model:resnet8")
    assert list(enumerate_all(space)) == [Architecture(())]
    assert space.label(Architecture(())) == "resnet8"
    assert torch.equal(
        weights(build(space, Architecture(()), SHAPE, seed=3)),
        weights(build(load_space("model:resnet8"), Architecture(()), SHAPE, seed=3)),
    )


def test_a_space_by_reference():
    assert load_space("search_spaces.resnet_depth:SPACE") is SPACE
    with pytest.raises(ConfigError, match="is of type InputShape; name a SearchSpace"):
        load_space(f"{__name__}:SHAPE")
    with pytest.raises(UnknownNameError):
        load_space("search_spaces.resnet_depth")


def test_seed_decides_the_weights_and_the_callers_state_stays():
    point = Architecture.of(SPACE.default)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = weights(build(SPACE, point, SHAPE, seed=1))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert torch.equal(one, weights(build(SPACE, point, SHAPE, seed=1)))
    assert not torch.equal(one, weights(build(SPACE, point, SHAPE, seed=2)))


def test_the_weights_lie_on_the_processor_whatever_the_default_device():
    with torch.device("meta"):
        model = build(SPACE, Architecture.of(SPACE.default), SHAPE, seed=0)
    assert weights(model).device.type == "cpu"


def test_a_point_outside_is_not_built():
    with pytest.raises(InfeasibleArchitectureError):
        build(SPACE, Architecture.of({"depth1": 2, "depth2": 1, "depth3": 1}), SHAPE, seed=0)


def test_the_table_builds_what_its_names_say():
    assert "resnet110" in MODELS
    model = MODELS["resnet14"](SHAPE)
    assert [len(list(model.get_submodule(f"stage{stage}").children())) for stage in (1, 2, 3)] == [2, 2, 2]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("mobilenet_v3_small", "did you mean 'torchvision:mobilenet_v3_small'?"),
        ("mobilenet_v3_smal", "did you mean 'torchvision:mobilenet_v3_small'?"),
        ("resnet55", "did you mean 'resnet56'?"),
        ("nosuch", "known are mobilenet-v1, "),
        ("net.onnx", "a network in a file is called 'file:net.onnx'"),
    ],
)
def test_an_unknown_name_gets_a_hint_at_the_prefix_of_torchvision(name, hint):
    with pytest.raises(UnknownNameError, match=f"^no model is called '{name}'; {re.escape(hint)}"):
        build_model(name, InputShape(3, 32, 32, 10))
