from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_kd.errors import TrialError, UnknownNameError
from automl_kd.models import build_model
from automl_kd.models.features import FeatureExtractor, FeatureLayer, find_feature, list_feature_layers
from automl_kd.space import InputShape


class Doubler(nn.Module):
    """Logits 2x, by way of a ReLU that runs twice; `idle` never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.idle = nn.ReLU()
        self.feature_layers = {"before": FeatureLayer("relu", "input"), "after": FeatureLayer("relu")}

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(self.relu(x) + 1)
        return 2 * out


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def test_features_by_hand():
    # x = (-1, 3): first ReLU (0, 3), second run sees (1, 4) and returns it; logits (2, 8)
    with FeatureExtractor(Doubler(), ["before", "after", ""]) as tapped:
        outputs = tapped(torch.tensor([[-1.0, 3.0]]))
    assert outputs.logits.tolist() == [[2.0, 8.0]]
    assert outputs.features["before"].tolist() == [[1.0, 4.0]]
    assert outputs.features["after"].tolist() == [[1.0, 4.0]]
    assert outputs.features[""] is outputs.logits


def test_an_input_tap_is_what_the_module_was_given():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    model.feature_layers = {"pre": FeatureLayer("1", "input")}  # type: ignore[assignment]  # a plain attribute, which torch allows
    x = torch.tensor([[1.0, -2.0]])
    with FeatureExtractor(model, ["pre", "1"]) as tapped:
        features = tapped(x).features
    torch.testing.assert_close(features["pre"], model[0](x))
    torch.testing.assert_close(features["1"], model[0](x).relu())


def test_features_keep_their_graph():
    x = torch.tensor([[2.0, 3.0]], requires_grad=True)
    with FeatureExtractor(Doubler(), ["after"]) as tapped:
        (gradient,) = torch.autograd.grad(tapped(x).features["after"].sum(), x)
    assert gradient.tolist() == [[1.0, 1.0]]


def test_nothing_is_held_between_calls_nor_heard_from_the_model_itself():
    model = Doubler()
    tapped = FeatureExtractor(model, ["after"])
    tapped(torch.ones(1, 2))
    assert tapped._caught is None
    model(torch.ones(1, 2))
    assert tapped._caught is None
    tapped.close()


def test_state_is_dropped_when_the_network_fails():
    tapped = FeatureExtractor(nn.Linear(2, 2), [""])
    with pytest.raises(RuntimeError):
        tapped(torch.ones(1, 3))
    assert tapped._caught is None


def test_hooks_come_and_go():
    model = Doubler()
    assert hooks(model) == 0
    with FeatureExtractor(model, ["before", "after"]):
        assert hooks(model) == 2
    assert hooks(model) == 0


def test_without_names_no_hook_is_set():
    model = Doubler()
    tapped = FeatureExtractor(model)
    assert hooks(model) == 0
    assert tapped(torch.ones(1, 1)).features == {}


def test_an_unknown_name_suggests_and_leaves_no_hook():
    model = Doubler()
    with pytest.raises(UnknownNameError, match=r"no feature layer or module is called 'befor'.*did you mean 'before'"):
        FeatureExtractor(model, ["after", "befor"])
    assert hooks(model) == 0


def test_a_module_that_does_not_run_is_an_error():
    with (
        FeatureExtractor(Doubler(), ["after", "idle"]) as tapped,
        pytest.raises(UnknownNameError, match=r"'idle'.*does not run"),
    ):
        tapped(torch.ones(1, 1))


def test_logits_must_be_a_tensor():
    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    with pytest.raises(TrialError, match="returned a tuple"):
        FeatureExtractor(Pair())(torch.ones(1, 1))


def test_any_module_name_is_a_tap():
    assert find_feature(Doubler(), "relu") == FeatureLayer("relu")
    assert find_feature(Doubler(), "") == FeatureLayer("")


def test_taps_of_a_model_built_like_torchvisions():
    model = nn.Module()
    for name in ("layer1", "layer2", "avgpool"):
        model.add_module(name, nn.Identity())
    model.add_module("fc", nn.Linear(2, 2))
    assert list_feature_layers(model) == {
        "layer1": FeatureLayer("layer1"),
        "layer2": FeatureLayer("layer2"),
        "avgpool": FeatureLayer("avgpool"),
        "pre_pool": FeatureLayer("avgpool", "input"),
        "pooled": FeatureLayer("fc", "input"),
    }


def test_other_models_have_no_taps_of_their_own():
    assert list_feature_layers(nn.Sequential(nn.ReLU())) == {}


class Overwriting(nn.Module):
    """A residual block as torchvision writes it: rectifiers in place, and the shortcut added in place."""

    def __init__(self, *, in_place: bool) -> None:
        super().__init__()
        self.in_place = in_place
        self.conv1, self.conv2, self.conv3 = (nn.Conv2d(2, 2, 1) for _ in range(3))
        self.norm1, self.norm2, self.relu = nn.BatchNorm2d(2), nn.BatchNorm2d(2), nn.ReLU(inplace=in_place)

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
        if self.in_place:
            out += x
            return F.relu_(self.conv3(F.relu_(out))).mean((2, 3))
        return F.relu(self.conv3(F.relu(out + x))).mean((2, 3))


WRITTEN = ("norm1", "norm2", "conv3")
MAPS = (*WRITTEN, "conv1", "relu")


def both_ways() -> tuple[Overwriting, Overwriting]:
    torch.manual_seed(0)
    plain, writing = (Overwriting(in_place=one).train() for one in (False, True))
    writing.load_state_dict(plain.state_dict())
    return plain, writing


def noise() -> Tensor:
    return torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("guard", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_a_map_is_what_the_module_returned_also_where_it_is_written_over(guard: Callable[[], torch.no_grad]):
    plain, writing = both_ways()
    with FeatureExtractor(plain, MAPS) as one, FeatureExtractor(writing, MAPS) as two, guard():
        for _ in range(3):
            expected, found = one(noise()), two(noise())
            assert torch.equal(found.logits, expected.logits)
            for name in MAPS:
                assert torch.equal(found.features[name], expected.features[name])


def test_gradients_through_a_map_that_is_written_over_are_right():
    plain, writing = both_ways()
    with FeatureExtractor(plain, MAPS) as one, FeatureExtractor(writing, MAPS) as two:
        for _ in range(2):
            for network in (one, two):
                network.model.zero_grad()
                outputs = network(noise())
                (outputs.logits.sum() + sum(value.square().sum() for value in outputs.features.values())).backward()
            for expected, found in zip(plain.parameters(), writing.parameters(), strict=True):
                torch.testing.assert_close(found.grad, expected.grad)


def test_only_what_is_written_over_is_copied_and_only_the_first_pass_looks():
    _, writing = both_ways()
    copies: list[tuple[str, ...]] = []
    with FeatureExtractor(writing, MAPS) as tapped:
        for _ in range(2):
            features = tapped(noise()).features
            # a copy has the copying at the end of its graph
            copies.append(tuple(name for name, value in features.items() if "Clone" in str(value.grad_fn)))
            copies.append(tuple(name for name in MAPS if name in tapped._copy))
    assert copies[::2] == [("norm1", "norm2", "conv3")] * 2
    assert copies[1::2] == [MAPS, WRITTEN]


@pytest.mark.parametrize("name", ["bn1", "layer1.0.bn1", "layer1.1.bn2"])
def test_torchvisions_residual_networks_return_maps_before_activation(name: str):
    model = build_model("torchvision:resnet18", InputShape(3, 32, 32, 4)).eval()
    with FeatureExtractor(model, [name]) as tapped, torch.no_grad():
        assert tapped(torch.randn(2, 3, 32, 32)).features[name].min() < 0


def test_a_map_that_is_written_over_in_some_passes_only_is_refused():
    class Fickle(Doubler):
        passes = 0

        def forward(self, x: Tensor) -> Tensor:
            self.passes += 1
            out: Tensor = self.relu(x)
            return out.mul_(2) if self.passes > 1 else out * 2

    with FeatureExtractor(Fickle(), ["after"]) as tapped:
        tapped(torch.ones(1, 2))
        with pytest.raises(TrialError, match="'after' is a map that the network writes over, and not in every pass"):
            tapped(torch.ones(1, 2))


def test_a_tap_must_be_a_tensor():
    model = nn.Sequential(nn.LSTM(2, 2))
    with FeatureExtractor(model, ["0"]) as tapped, pytest.raises(TrialError, match="feature layer '0' is a tuple"):
        tapped(torch.ones(1, 1, 2))
