"""Where a trained teacher starts, and asking a network again under autocast after it has changed."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from automl_kd.errors import ConfigError
from automl_kd.methods.prokt.moving_teacher import detach_outputs, head_of, starting_teacher, uncached, zero_head
from automl_kd.models.features import Outputs
from automl_kd.training import trial
from tests import tiny
from tests.methods.test_weighted_losses import place, spec


@pytest.fixture
def setting(tmp_path, monkeypatch):
    monkeypatch.setattr(trial, "load_dataset", lambda *_: tiny.dataset())
    return trial.prepare_trial(spec("prokt", {}), place(tmp_path))


def test_the_three_starts(setting):
    trained = trial.load_teacher(setting).state_dict()
    states = {}
    for start in ("finetuned", "pretrained", "scratch"):
        network = starting_teacher(setting, start)
        assert not network.training
        assert all(parameter.requires_grad for parameter in network.parameters())
        states[start] = network.state_dict()
    assert all(torch.equal(value, states["finetuned"][name]) for name, value in trained.items())
    for name in trained:
        body = torch.equal(trained[name], states["pretrained"][name])
        assert body == (not name.startswith("classifier"))
        assert torch.equal(states["pretrained"][name], states["scratch"][name]) or not name.startswith("classifier")
    assert not torch.equal(states["scratch"]["stem.weight"], trained["stem.weight"])


def test_a_teacher_from_scratch_depends_on_the_seed_alone(setting):
    random = torch.get_rng_state()
    one, two = (starting_teacher(setting, "scratch").state_dict()["stem.weight"] for _ in range(2))
    assert torch.equal(one, two)
    assert torch.equal(random, torch.get_rng_state())
    other = dataclasses.replace(setting, spec=dataclasses.replace(setting.spec, seed=6))
    assert not torch.equal(one, starting_teacher(other, "scratch").state_dict()["stem.weight"])


def test_a_head_at_zero_says_nothing_of_any_image():
    model = tiny.Net(tiny.SHAPE, 4)
    zero_head(model)
    assert not model(torch.randn(2, 1, 8, 8)).any()
    assert model.stem.weight.any()


def test_a_network_without_a_linear_layer_has_no_head_to_begin_anew():
    with pytest.raises(ConfigError, match="Sequential has no linear layer that could begin anew; set start"):
        head_of(nn.Sequential(nn.Conv2d(1, 3, 1)))


def test_a_changed_network_is_asked_with_its_new_weights_under_autocast():
    torch.manual_seed(0)
    layer, x = nn.Linear(3, 2), torch.randn(4, 3)

    def changed() -> torch.Tensor:
        with torch.no_grad():
            layer.weight += 1
            said: torch.Tensor = layer(x)
            return said

    with torch.autocast("cpu", torch.bfloat16):
        layer(x)
        remembered = changed()
        with uncached(x.device):
            layer(x)
            new = changed()
            assert new.dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(new, layer(x))
    # what it is for: torch's memory answers with the weights of before
    assert (new - remembered - 2 * x.sum(1, keepdim=True)).abs().max() < 0.1


def test_outside_autocast_precision_stays():
    with uncached(torch.device("cpu")):
        assert nn.Linear(3, 2)(torch.zeros(1, 3)).dtype == torch.float32


def test_detached_outputs_have_no_graph():
    leaf = torch.ones(2, 3, requires_grad=True)
    outputs = detach_outputs(Outputs(2 * leaf, {"stage1": 3 * leaf}))
    assert not outputs.logits.requires_grad
    assert torch.equal(outputs.features["stage1"], torch.full((2, 3), 3.0))
    assert not outputs.features["stage1"].requires_grad
