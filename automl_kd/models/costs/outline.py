"""The layers of a network with weights, in the order in which they run, and what each costs: for drawings of it."""

from __future__ import annotations

from functools import partial
from typing import Any, TypedDict

import torch
from torch import Tensor, nn

from automl_kd.models.costs.cost import blank_inputs, evaluating
from automl_kd.space import InputShape


class LayerOutline(TypedDict):
    """`kernel`: its side, 0 of a linear layer. `groups`: 1, or more for a grouped or depthwise convolution. `channels`
    and `height` of what it puts out; the latter is 0 for vectors and tokens. `params` and `macs` of its weights.
    """

    name: str
    kernel: int
    groups: int
    channels: int
    height: int
    params: int
    macs: int


def outline(model: nn.Module, shape: InputShape) -> list[LayerOutline]:
    """Convolutions and linear layers as they run for an image of `shape`, each once; the model is left as it was."""
    found: dict[str, LayerOutline] = {}
    handles = [
        module.register_forward_hook(partial(note_layer, found, name))
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    try:
        with evaluating(model), torch.no_grad():
            model(blank_inputs(model, shape))
    finally:
        for handle in handles:
            handle.remove()
    return list(found.values())


def note_layer(
    found: dict[str, LayerOutline], name: str, module: nn.Module, _given: tuple[Any, ...], made: Tensor
) -> None:
    weight: Tensor = module.weight  # type: ignore[assignment]  # a parameter, or computed from some
    convolution = isinstance(module, nn.Conv2d)
    channels = len(weight)
    found.setdefault(
        name,
        LayerOutline(
            name=name,
            kernel=int(weight.shape[-1]) if convolution else 0,
            groups=module.groups if isinstance(module, nn.Conv2d) else 1,
            channels=channels,
            height=int(made.shape[2]) if convolution else 0,
            params=sum(one.numel() for one in module.parameters()),
            macs=weight.numel() * made.numel() // (len(made) * channels),
        ),
    )
