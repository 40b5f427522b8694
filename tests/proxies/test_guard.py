from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from automl_kd.proxies.guard import untouched


def network() -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
    made[4].bias.requires_grad_(False)
    made[1].eval()
    made(torch.randn(3, 1, 4, 4)).sum().backward()
    return made


def picture(model: nn.Module) -> list[Any]:
    """Everything that a caller could notice, in comparable form."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return [
        [(name, id(tensor), tensor.dtype, tensor.requires_grad, tensor.tolist()) for name, tensor in tensors],
        [None if tensor.grad is None else tensor.grad.tolist() for _, tensor in tensors],
        [(name, id(module), module.training) for name, module in model.named_modules()],
        [list(module._forward_hooks) + list(module._forward_pre_hooks) for module in model.modules()],
        [sorted(vars(module)) for module in model.modules()],
        torch.get_rng_state().tolist(),
    ]


def overwrite(model: nn.Module) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)


def replace(model: nn.Module) -> None:
    model.get_submodule("1").register_buffer("running_mean", torch.full((2,), 7.0))
    model.get_submodule("0").weight = nn.Parameter(torch.zeros(2, 1, 3, 3))
    model.register_module("5", nn.Identity())


def backward(model: nn.Module) -> None:
    model(torch.randn(3, 1, 4, 4)).square().sum().backward()


def listen(model: nn.Module) -> None:
    for module in model.modules():
        module.register_forward_hook(lambda *_: None)
        module.register_forward_pre_hook(lambda *_: None)


def patch(model: nn.Module) -> None:
    model.get_submodule("2").forward = lambda x: x


DEEDS = {
    "overwrites weights": overwrite,
    "replaces tensors and children": replace,
    "changes type": lambda model: model.double(),
    "changes layout": lambda model: model.to(memory_format=torch.channels_last),
    "adds to gradients": backward,
    "drops gradients": lambda model: model.zero_grad(),
    "changes mode": lambda model: model.eval(),
    "freezes": lambda model: model.requires_grad_(False),
    "listens": listen,
    "patches a function": patch,
    "draws": lambda _: torch.rand(5),
    "seeds": lambda _: torch.default_generator.manual_seed(5),
    "updates statistics": lambda model: model.train()(torch.randn(3, 1, 4, 4)),
}


@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS)
def test_whatever_is_done_is_undone(deed):
    model = network()
    before = picture(model)
    with untouched(model):
        deed(model)
        assert picture(model) != before or deed is DEEDS["changes layout"]
    assert picture(model) == before


def test_it_is_undone_after_an_exception_too():
    model = network()
    before = picture(model)
    with pytest.raises(RuntimeError), untouched(model):  # noqa: PT012  # first the deed, then the exception
        overwrite(model)
        model(torch.zeros(1, 7))
    assert picture(model) == before


def test_hooks_set_before_still_fire_and_can_be_removed():
    model, calls = network(), []
    handle = model.register_forward_hook(lambda *_: calls.append(1))
    with untouched(model):
        handle.remove()
        model(torch.zeros(1, 1, 4, 4))
    assert not calls
    model(torch.zeros(1, 1, 4, 4))
    assert len(calls) == 1
    handle.remove()
    model(torch.zeros(1, 1, 4, 4))
    assert len(calls) == 1


def test_the_network_computes_as_before():
    model = network().eval()
    images = torch.randn(2, 1, 4, 4)
    expected = copy.deepcopy(model)(images)
    with untouched(model), torch.inference_mode():
        model.train()(images)
    assert torch.equal(model(images), expected)
