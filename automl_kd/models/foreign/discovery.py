"""Which layers of somebody's network give its stages, found by one pass of a small batch.

A stage is what a network computes at one stride: its last map of that height and width. Strides 4, 8, 16 and 32 are
stages 1 to 4; where the smallest map is larger than a 16th of the image, as in networks for small images, all strides
are stages, from the first on. Where strides are left out, as in transformers, no maps are stages.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise, zip_longest
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from automl_kd.space import InputShape

LayerSide = tuple[str, Literal["input", "output"]]

LARGE_STRIDE = 16
"""From which on a network is one for large images."""
NUMBERED = {4: 1, 8: 2, 16: 3, 32: 4}
RECTIFYING = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.SiLU, nn.GELU, nn.Hardswish, nn.ELU, nn.PReLU, nn.Mish)


class Seen(NamedTuple):
    """A map that a module put out, at a power of two as stride. `begun`, `ended`: when it ran, in calls of modules."""

    name: str
    stride: int
    channels: int
    begun: int
    ended: int


@dataclass(eq=False)
class PassRecord:
    """What a pass showed: maps in order, and the last linear layer of vectors."""

    height: int = 0
    width: int = 0
    maps: list[Seen] = field(default_factory=list)
    classifier: str = ""
    calls: int = 0
    begun: dict[str, int] = field(default_factory=dict)

    def enter(self, _model: nn.Module, given: tuple[Any, ...]) -> None:
        """The size of the images that the network itself sees, after whatever makes them fit."""
        self.height, self.width = given[0].shape[2:]

    def begin(self, name: str, _module: nn.Module, _given: tuple[Any, ...]) -> None:
        self.calls += 1
        self.begun[name] = self.calls

    def end(self, name: str, module: nn.Module, given: tuple[Any, ...], made: object) -> None:
        self.calls += 1
        if not isinstance(made, Tensor):
            return
        if isinstance(module, nn.Linear) and made.ndim == given[0].ndim == 2:
            self.classifier = name
        last_pool = "Pool" in type(module).__name__ and (
            "Adaptive" in type(module).__name__ or (made.ndim == 4 and made.shape[2:].numel() == 1)
        )
        if made.ndim == 4 and not last_pool and (stride := self.stride_of(made)):
            self.maps.append(Seen(name, stride, made.shape[1], self.begun[name], self.calls))

    def stride_of(self, made: Tensor) -> int:
        """Of a map (batch, channels, height, width), a power of two; 0 of one that is no smaller image."""
        height, width = made.shape[2:]
        strides = {power_of_two(self.height, height), power_of_two(self.width, width)}
        stride = max(strides) if len(strides) == 1 else 0
        return 0 if height == width == 1 and stride > max(NUMBERED) else stride


def power_of_two(whole: int, part: int) -> int:
    """The stride that leaves `part` of `whole` pixels, rounded up, or is nearest to doing so; 0 for none."""
    if not 1 <= part <= whole:
        return 0
    strides: list[int] = [2**power for power in range(whole.bit_length() + 1)]
    exact = [stride for stride in strides if -(-whole // stride) == part]
    return exact[0] if exact else strides[round(math.log2(whole / part))]


def discover_layers(model: nn.Module, shape: InputShape) -> Mapping[str, LayerSide]:
    """Module and side by the names of feature layers, `stem`, `stageN`, `stageN.pre`, `pre_pool` and `pooled`, as far
    as there are such. `shape`: of the images that the network takes. The network is left as it was.
    """
    record, modules = PassRecord(), dict(model.named_modules())
    with one_pass(model), ExitStack() as hooks:
        hooks.callback(model.register_forward_pre_hook(record.enter).remove)
        for name, module in modules.items():
            if name:
                begin, end = partial(record.begin, name), partial(record.end, name)
                hooks.callback(module.register_forward_pre_hook(begin).remove)
                hooks.callback(module.register_forward_hook(end).remove)
        like = next(model.parameters(), torch.empty(0))
        model(shape.blank(2, like))
    path = main_path(record.maps)
    if record.classifier:
        return {"pooled": (record.classifier, "input"), **dict(name_stages(modules, path))}
    while path and path[-1].channels == shape.classes:  # a convolution that classifies
        path.pop()
    return dict(name_stages(modules, path))


@contextmanager
def one_pass(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    model.eval()
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            yield
    finally:
        for buffer, before in buffers:
            buffer.copy_(before)
        for module, mode in modes:
            module.training = mode


def main_path(maps: list[Seen]) -> list[Seen]:
    """The maps after which none is larger: what squeezes a map to weigh its channels lies beside the path."""
    path: list[Seen] = []
    for one in reversed(maps):
        if not path or one.stride <= path[-1].stride:
            path.append(one)
    return path[::-1]


def name_stages(modules: Mapping[str, nn.Module], maps: list[Seen]) -> Iterator[tuple[str, LayerSide]]:
    strides = sorted({one.stride for one in maps})
    large = bool(strides) and strides[-1] >= LARGE_STRIDE
    first = min(NUMBERED) if large else 2
    if not strides or strides[0] > first or any(2 * one != two for one, two in pairwise(strides)):
        return
    numbers = NUMBERED if large else {stride: at for at, stride in enumerate(strides, start=1)}
    for stride, following in zip_longest(strides, strides[1:]):
        stage = [one for one in maps if one.stride == stride]
        if following is not None:
            begun = entrance([one for one in maps if one.stride == following], since=stage[0].ended)
            stage = [one for one in stage if one.ended < begun] or stage[:1]
        if number := numbers.get(stride):
            yield f"stage{number}", (stage[-1].name, "output")
            yield f"stage{number}.pre", before_activation(modules, stage)
        if stride == strides[0]:
            yield "stem", (stage[-1].name if large else maps[0].name, "output")
    yield "pre_pool", (maps[-1].name, "output")


def entrance(stage: list[Seen], since: int) -> int:
    """When the largest module began, later than `since`, whose map is at the stage's stride and holds the first one."""
    first = stage[0].name
    return min(one.begun for one in stage if f"{first}.".startswith(f"{one.name}.") and one.begun > since)


def before_activation(modules: Mapping[str, nn.Module], stage: list[Seen]) -> LayerSide:
    """What the stage's last activation is given, where the stage ends in one."""
    last, channels = stage[-1].name, stage[-1].channels
    inside = [
        one.name for one in stage if f"{one.name}.".startswith(f"{last}.") and not any(modules[one.name].children())
    ]
    ends_in = inside[-1] if inside else last
    whole = all(one.channels == channels for one in stage if one.name == ends_in)
    return (ends_in, "input") if whole and isinstance(modules[ends_in], RECTIFYING) else (last, "output")
