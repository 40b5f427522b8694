"""Batch normalisation folded into convolutions."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from automl_kd.models import build_model
from automl_kd.models.features import FeatureExtractor, find_feature
from automl_kd.models.folding import agree, fold_norms, fold_teacher
from automl_kd.models.foreign.adoption import adopt
from automl_kd.space import InputShape
from tests import strange

SHAPE = InputShape(3, 16, 16, 7)


def settled(model: nn.Module) -> nn.Module:
    """With statistics of its own, in evaluation mode."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value in (module.running_mean, module.weight.data, module.bias.data):
                assert value is not None
                value.normal_(generator=generator)
            assert module.running_var is not None
            module.running_var.uniform_(0.5, 2, generator=generator)
    return model.requires_grad_(False).eval()


def pair(channels: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels, eps=0.0))


def test_one_channel_by_hand():
    # 3 x, then (3 x - 1) / 2 * 5 + 7 = 7.5 x + 4.5
    model = pair().eval()
    values = {"0.weight": 3.0, "1.running_mean": 1.0, "1.running_var": 4.0, "1.weight": 5.0, "1.bias": 7.0}
    for name, value in model.state_dict().items():
        value.fill_(values.get(name, 0))
    assert fold_norms(model) == 1
    assert isinstance(model[1], nn.Identity)
    assert {name: value.item() for name, value in model.state_dict().items()} == {"0.weight": 7.5, "0.bias": 4.5}


@pytest.mark.parametrize("name", ["resnet20", "wrn-16-2", "vgg8", "torchvision:resnet18"])
def test_models_say_the_same_with_their_taps(name: str):
    whole = settled(build_model(name, SHAPE)).double()
    folded = deepcopy(whole)
    assert fold_norms(folded) > 4
    x = torch.randn(4, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    taps = ("pooled", "pre_pool")
    with FeatureExtractor(whole, taps) as one, FeatureExtractor(folded, taps) as other:
        expected, found = one(x), other(x)
    torch.testing.assert_close(found.logits, expected.logits)
    for tap in taps:
        torch.testing.assert_close(found.features[tap], expected.features[tap])


@pytest.mark.parametrize(("name", "norms"), [("tf_efficientnet_lite0", 49), ("mobilenetv3_small_050", 34)])
def test_timms_layers_are_folded(name, norms):
    """Convolutions that pad by the size of their images, and normalisations that end with an activation."""
    timm = pytest.importorskip("timm", reason="models of timm need the package timm")
    whole = settled(timm.create_model(name, num_classes=7)).double()
    folded = deepcopy(whole)
    assert fold_norms(folded) == norms == sum(isinstance(one, nn.BatchNorm2d) for one in whole.modules())
    assert not any(isinstance(one, nn.BatchNorm2d) for one in folded.modules())
    x = torch.randn(2, 3, 33, 33, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(folded(x), whole(x))


def test_what_somebody_listens_to_stays():
    model = settled(build_model("resnet20", SHAPE))
    number = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    name = next(name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d))
    assert fold_norms(model, keep=[find_feature(model, name).module]) == number - 1
    assert isinstance(model.get_submodule(name), nn.BatchNorm2d)


class Shared(nn.Module):
    """The convolution is read twice."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = pair()

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.convolution(x)
        both: Tensor = self.norm(made) + made
        return both


class Twice(Shared):
    """It runs twice, once without the normalisation."""

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.norm(self.convolution(self.convolution(x)))
        return made


class Untraceable(Shared):
    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.norm(self.convolution(x)) if x.sum() > 0 else x
        return made


def hooked() -> nn.Sequential:
    model = pair()
    model[0].register_forward_hook(lambda *_: None)
    return model


@pytest.mark.parametrize("model", [Shared(), Twice(), Untraceable(), hooked()])
def test_where_it_would_change_the_function_nothing_is_folded(model: nn.Module):
    before = deepcopy(settled(model).state_dict())
    assert fold_norms(model) == 0
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())


def strangers_images() -> Tensor:
    return torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("build", "reason", "wrong"),
    [
        (strange.twice, "its folded copy gives other logits", True),
        (
            strange.by_hand,
            "its folded copy cannot be run (AttributeError: 'Identity' object has no attribute 'bias')",
            True,
        ),
        (strange.checking, "it cannot be traced (AssertionError: images are tensors)", False),
        (strange.weight_norm, "", False),
        (strange.writing, "", False),
    ],
)
def test_what_a_folded_copy_says_is_what_the_network_says(
    build: Callable[[InputShape], nn.Module], reason: str, wrong: bool
):
    model = adopt(settled(build(SHAPE)), SHAPE)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = fold_teacher(FeatureExtractor(model, ["relu"]), strangers_images())
    assert (found.reason, found.wrong) == (reason, wrong)
    assert found.teacher.model is not model
    expected, outputs = FeatureExtractor(model, ["relu"])(strangers_images()), found.teacher(strangers_images())
    torch.testing.assert_close(outputs.logits, expected.logits)
    torch.testing.assert_close(outputs.features["relu"], expected.features["relu"])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_an_ordinary_network_is_folded_and_random_numbers_stay():
    model, state = settled(build_model("resnet8", SHAPE)), torch.get_rng_state()
    found = fold_teacher(FeatureExtractor(model), strangers_images())
    assert not found.reason
    assert not any(isinstance(module, nn.BatchNorm2d) for module in found.teacher.model.modules())
    assert torch.equal(torch.get_rng_state(), state)


def test_what_cannot_be_copied_is_asked_itself():
    class Single(nn.Sequential):
        def __deepcopy__(self, memo: object) -> nn.Module:
            raise RuntimeError("there is only one")

    model = settled(Single(*pair(3)))
    found = fold_teacher(FeatureExtractor(model), strangers_images())
    assert found.teacher.model is model
    assert found.reason == "it cannot be copied (RuntimeError: there is only one)"


def test_numbers_that_are_not_finite_agree_where_they_are_the_same():
    some = torch.tensor([1.0, torch.nan, torch.inf])
    assert agree(some, torch.tensor([1.0005, torch.nan, torch.inf]))
    assert not agree(some, torch.tensor([1.01, torch.nan, torch.inf]))
    assert not agree(some, torch.tensor([1.0, 1.0, torch.inf]))
    assert agree(some[1:], some[1:])


class Single(strange.Twice):
    """Knows images of single precision alone."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float())


def test_a_network_of_single_precision_is_compared_in_it():
    found = fold_teacher(FeatureExtractor(settled(Single(SHAPE))), strangers_images())
    assert found.reason == "its folded copy gives other logits"
