from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from automl_kd.errors import TrialError, UnknownNameError
from automl_kd.models.taps import Tap, Tapped, find, taps_of


class Doubler(nn.Module):
    """Logits 2x, by way of a ReLU that runs twice; `idle` never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.idle = nn.ReLU()
        self.taps = {"before": Tap("relu", "input"), "after": Tap("relu")}

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(self.relu(x) + 1)
        return 2 * out


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def test_features_by_hand():
    # x = (-1, 3): first ReLU (0, 3), second run sees (1, 4) and returns it; logits (2, 8)
    with Tapped(Doubler(), ["before", "after", ""]) as tapped:
        outputs = tapped(torch.tensor([[-1.0, 3.0]]))
    assert outputs.logits.tolist() == [[2.0, 8.0]]
    assert outputs.features["before"].tolist() == [[1.0, 4.0]]
    assert outputs.features["after"].tolist() == [[1.0, 4.0]]
    assert outputs.features[""] is outputs.logits


def test_an_input_tap_is_what_the_module_was_given():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    model.taps = {"pre": Tap("1", "input")}  # type: ignore[assignment]  # a plain attribute, which torch allows
    x = torch.tensor([[1.0, -2.0]])
    with Tapped(model, ["pre", "1"]) as tapped:
        features = tapped(x).features
    torch.testing.assert_close(features["pre"], model[0](x))
    torch.testing.assert_close(features["1"], model[0](x).relu())


def test_features_keep_their_graph():
    x = torch.tensor([[2.0, 3.0]], requires_grad=True)
    with Tapped(Doubler(), ["after"]) as tapped:
        (gradient,) = torch.autograd.grad(tapped(x).features["after"].sum(), x)
    assert gradient.tolist() == [[1.0, 1.0]]


def test_nothing_is_held_between_calls_nor_heard_from_the_model_itself():
    model = Doubler()
    tapped = Tapped(model, ["after"])
    tapped(torch.ones(1, 2))
    assert tapped._caught is None
    model(torch.ones(1, 2))
    assert tapped._caught is None
    tapped.close()


def test_state_is_dropped_when_the_network_fails():
    tapped = Tapped(nn.Linear(2, 2), [""])
    with pytest.raises(RuntimeError):
        tapped(torch.ones(1, 3))
    assert tapped._caught is None


def test_hooks_come_and_go():
    model = Doubler()
    assert hooks(model) == 0
    with Tapped(model, ["before", "after"]):
        assert hooks(model) == 2
    assert hooks(model) == 0


def test_without_names_no_hook_is_set():
    model = Doubler()
    tapped = Tapped(model)
    assert hooks(model) == 0
    assert tapped(torch.ones(1, 1)).features == {}


def test_an_unknown_name_suggests_and_leaves_no_hook():
    model = Doubler()
    with pytest.raises(UnknownNameError, match=r"no tap or module is called 'befor'.*did you mean 'before'"):
        Tapped(model, ["after", "befor"])
    assert hooks(model) == 0


def test_a_module_that_does_not_run_is_an_error():
    with Tapped(Doubler(), ["after", "idle"]) as tapped, pytest.raises(UnknownNameError, match=r"'idle'.*does not run"):
        tapped(torch.ones(1, 1))


def test_logits_must_be_a_tensor():
    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    with pytest.raises(TrialError, match="returned a tuple"):
        Tapped(Pair())(torch.ones(1, 1))


def test_any_module_name_is_a_tap():
    assert find(Doubler(), "relu") == Tap("relu")
    assert find(Doubler(), "") == Tap("")


def test_taps_of_a_model_built_like_torchvisions():
    model = nn.Module()
    for name in ("layer1", "layer2", "avgpool"):
        model.add_module(name, nn.Identity())
    model.add_module("fc", nn.Linear(2, 2))
    assert taps_of(model) == {
        "layer1": Tap("layer1"),
        "layer2": Tap("layer2"),
        "avgpool": Tap("avgpool"),
        "pre_pool": Tap("avgpool", "input"),
        "pooled": Tap("fc", "input"),
    }


def test_other_models_have_no_taps_of_their_own():
    assert taps_of(nn.Sequential(nn.ReLU())) == {}
