"""The layers of a network in the order in which they run, each with the role that it has there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from automl_kd.models.costs.cost import blank_inputs, evaluating
from automl_kd.space import InputShape

NORM_LAYERS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm)


@dataclass(frozen=True)
class RoleLayer:
    """A convolution, matrix or normalisation of a network.

    `kind`: what it is, down to its kernel and stride. `reduction`: how often smaller than what the first layer sees its
    inputs are, as a power of two; 0 where they have no height. `block`: the module that repeats and has it inside, ""
    without one; `place`: which of the layers of that block it is, counted from 0.
    """

    name: str
    kind: tuple[Any, ...]
    reduction: int
    block: str
    place: int

    @property
    def mixes(self) -> bool:
        """Whether it combines channels or places, as normalisations do not."""
        return bool(self.kind[0] != "norm")

    def can_be(self, other: RoleLayer) -> bool:
        """Whether the two do the same, whatever their widths."""
        return (self.kind, self.reduction) == (other.kind, other.reduction)


def layers_in_order(model: nn.Module, shape: InputShape) -> list[RoleLayer]:
    """Those that run when `model`, which is left as it was, sees an image of `shape`; each where it runs first."""
    seen: dict[str, tuple[nn.Module, int]] = {}

    def note(name: str) -> Any:
        def listen(module: nn.Module, given: tuple[Any, ...]) -> None:
            if given and isinstance(given[0], Tensor):
                seen.setdefault(name, (module, side_of(given[0])))

        return listen

    found = {name: module for name, module in model.named_modules() if layer_kind(module) is not None}
    handles = [module.register_forward_pre_hook(note(name)) for name, module in found.items()]
    try:
        with evaluating(model), torch.no_grad():
            model(blank_inputs(model, shape))
    finally:
        for handle in handles:
            handle.remove()
    return list(with_roles(seen))


def with_roles(seen: dict[str, tuple[nn.Module, int]]) -> Iterator[RoleLayer]:
    # Not the images' own height: a network may resize them.
    side = next((own for _, own in seen.values() if own), 0)
    counts: dict[str, int] = {}
    for name, (module, own) in seen.items():
        kind, block = layer_kind(module), block_of(name)
        assert kind is not None  # others are not listened to
        place = counts.get(block, 0)
        counts[block] = place + 1
        yield RoleLayer(name, kind, 2 ** round(math.log2(side / own)) if own else 0, block, place if block else 0)


def side_of(images: Tensor) -> int:
    """The height of (batch, channels, height, width), 0 for tensors without one."""
    return int(images.shape[2]) if images.ndim == 4 else 0


def layer_kind(module: nn.Module) -> tuple[Any, ...] | None:
    """None for what has no weights, or none that a warm start knows."""
    if isinstance(module, nn.Conv2d):
        how = "full" if module.groups == 1 else "depthwise" if module.groups == module.in_channels else "grouped"
        return ("conv", how, module.kernel_size, module.stride, module.dilation)
    if isinstance(module, nn.Linear):
        return ("linear",)
    return ("norm", type(module).__name__) if isinstance(module, NORM_LAYERS) else None


def block_of(name: str) -> str:
    """Of a module's name what ends in the first numbers that have something after them: "layer1.0" of
    "layer1.0.conv1".
    """
    pieces = name.split(".")
    for end, piece in enumerate(pieces[:-1], start=1):
        if piece.isdigit() and not (end < len(pieces) - 1 and pieces[end].isdigit()):
            return ".".join(pieces[:end])
    return ""
