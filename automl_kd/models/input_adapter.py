"""Networks that take other images than those of a batch, and know other classes than the data has.

A batch has one view of each image, normalised by the data's mean and deviation. A network that was trained with images
of another size, normalisation or order of colours makes these of it in a hook before its first layer, and its outputs
are brought into the order of the data's classes in a hook after its last. So whoever runs the network, trains it or
listens to its layers need not know.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


@dataclass(eq=False)
class InputAdapter:
    """Two hooks of one network.

    `size`: height and width of the images that it takes; 0 for those of the batch. `train_size`: the same in training
    mode; 0 for `size`. `factor`, `shift`: what its images
    are of the batch's, image * factor + shift, for each channel; empty where they are the same. `reverse`: whether its
    colours come in reverse order; factor and shift are those of the batch's order. `outputs`: which of its outputs each
    class of the data is; empty for all in order.
    """

    size: int = 0
    factor: tuple[float, ...] = ()
    shift: tuple[float, ...] = ()
    reverse: bool = False
    outputs: tuple[int, ...] = ()
    train_size: int = 0
    placed: dict[object, Tensor] = field(default_factory=dict, repr=False)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.size or self.train_size or self.factor or self.reverse or self.outputs)

    def enter(self, model: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not given or not isinstance(given[0], Tensor):  # a tracer of networks that contain this one
            return None
        size = self.train_size if model.training and self.train_size else self.size
        images = resize_batch(given[0], size) if size else given[0]
        if self.factor:
            factor, shift = (self.numbers(values, images) for values in (self.factor, self.shift))
            images = torch.addcmul(shift, images, factor)
        return (images.flip(1) if self.reverse else images, *given[1:])

    def leave(self, _model: nn.Module, _given: tuple[Any, ...], made: Tensor) -> Tensor | None:
        if not self.outputs:
            return None
        key = ("outputs", made.device)
        if key not in self.placed:
            with torch.inference_mode(False):  # it outlives the evaluation that may ask first
                self.placed[key] = torch.tensor(self.outputs, device=made.device)
        return made.index_select(1, self.placed[key])

    def numbers(self, values: Sequence[float], images: Tensor) -> Tensor:
        """(1, channels, 1, 1), on the device and in the type of the images."""
        key = (values, images.device, images.dtype)
        if key not in self.placed:
            with torch.inference_mode(False):
                self.placed[key] = torch.tensor(values, dtype=images.dtype, device=images.device).view(1, -1, 1, 1)
        return self.placed[key]


def adapt(model: nn.Module, adapter: InputAdapter) -> nn.Module:
    """`model` itself with the adapter's hooks, the first to see its images and the last to see its outputs."""
    if not adapter.idle:
        hook_up(model, adapter)
    return model


def train_at(model: nn.Module, size: int) -> nn.Module:
    """`model` itself, which in training mode takes images of this height and width, made of its batch's; 0 for any."""
    if (adapter := find_adapter(model)) is None:
        return adapt(model, InputAdapter(train_size=size))
    adapter.train_size = size
    return model


@contextmanager
def as_in_training(model: nn.Module) -> Iterator[None]:
    """Inside, `model` takes images of its training's size in any mode."""
    adapter = find_adapter(model)
    if adapter is None or not adapter.train_size:
        yield
        return
    before, adapter.size = adapter.size, adapter.train_size
    try:
        yield
    finally:
        adapter.size = before


def hook_up(model: nn.Module, adapter: InputAdapter) -> tuple[RemovableHandle, RemovableHandle]:
    before = model.register_forward_pre_hook(adapter.enter, prepend=True)
    return before, model.register_forward_hook(adapter.leave)


@contextmanager
def adapted(model: nn.Module, adapter: InputAdapter) -> Iterator[nn.Module]:
    """`model`, which has no adapter of its own, with this one inside."""
    handles = hook_up(model, adapter)
    try:
        yield model
    finally:
        for handle in handles:
            handle.remove()


def find_adapter(model: nn.Module) -> InputAdapter | None:
    owners = (getattr(hook, "__self__", None) for hook in model._forward_pre_hooks.values())
    return next((owner for owner in owners if isinstance(owner, InputAdapter)), None)


def remove_adapter(model: nn.Module) -> None:
    """Let `model` take its own images and return its own outputs again."""
    hooks: tuple[dict[int, Any], ...] = (model._forward_pre_hooks, model._forward_hooks)
    for kept in hooks:
        for key in [key for key, hook in kept.items() if isinstance(getattr(hook, "__self__", None), InputAdapter)]:
            del kept[key]


def resize_batch(images: Tensor, size: int) -> Tensor:
    """(batch, channels, height, width) as (batch, channels, size, size), antialiased, in the same layout of memory."""
    if images.shape[2:] == (size, size):
        return images
    last = images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous()
    found = F.interpolate(images, (size, size), mode="bilinear", antialias=True)
    return found.contiguous(memory_format=torch.channels_last) if last else found


def change_of_moments(
    given: tuple[Sequence[float], Sequence[float]], wanted: tuple[Sequence[float], Sequence[float]]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The factor and shift of each channel that turn images normalised by one (mean, std) into those of another.

    A single number of `wanted` is that of every channel. Empty where nothing changes.
    """
    channels = len(given[0])
    wanted_mean, wanted_std = (tuple(values) * channels if len(values) == 1 else values for values in wanted)
    if (tuple(wanted_mean), tuple(wanted_std)) == (tuple(given[0]), tuple(given[1])):
        return (), ()
    rows = list(zip(*given, wanted_mean, wanted_std, strict=True))
    return tuple(s / t for _, s, _, t in rows), tuple((m - n) / t for m, _, n, t in rows)
