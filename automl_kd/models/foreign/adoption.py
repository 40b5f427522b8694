"""Networks of anybody made fit to be run beside others: they leave images as they are, and return logits.

Both are seen to by two hooks on the network itself, so that whoever runs it gains by them: training, measuring,
proxies. Parameters keep their names.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from automl_kd.errors import ConfigError, NetworkError
from automl_kd.models.foreign.discovery import LayerSide, discover_layers
from automl_kd.models.foreign.overwriting import counted_copy, kind_of_pass, version_of, written_over
from automl_kd.registry import name_type
from automl_kd.space import InputShape


@dataclass(frozen=True, eq=False)
class Handed:
    """What the network was given in a pass of some kind, at which version; `own`: a copy that nobody else has."""

    images: Tensor
    version: int | None
    kind: Hashable
    own: bool


class Door:
    """Two hooks of one network: through one its images enter, through the other its logits leave.

    The first pass of each kind works on a copy of the images. If it did not write into them, later ones are given the
    images themselves; if it did, later ones get a copy as well. `contiguous`: images enter with rows last in memory.
    `classes`: None lets pass what is returned, for whoever changes the network's widths. `shape`: of the images that
    the network was built for. `layers`: its feature layers, once somebody has looked for them.
    """

    def __init__(self, shape: InputShape) -> None:
        self.shape = shape
        self.classes: int | None = shape.classes
        self.layers: Mapping[str, LayerSide] | None = None
        self.contiguous = False
        self.writes: dict[Hashable, bool] = {}
        self.handed: Handed | None = None

    def enter(self, model: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        self.handed = None
        # A tracer of networks that contain this one gives something else.
        if not given or not isinstance(given[0], Tensor):
            return None
        if not all(type(size) is int for size in given[0].shape):  # traced for any size of batch
            return None
        images = given[0].contiguous() if self.contiguous else given[0]
        kind, own = kind_of_pass(model, images), images is not given[0]
        if not own and self.writes.get(kind, True):
            images, own = counted_copy(images), True
        self.handed = Handed(images, version_of(images), kind, own)
        return (images, *given[1:])

    def leave(self, model: nn.Module, _given: tuple[Any, ...], made: Any) -> Tensor | None:
        handed, self.handed = self.handed, None
        if handed is None:
            return None
        wrote = written_over(handed.images, handed.version)
        if wrote and not handed.own:
            raise NetworkError(
                f"{name_type(model)} writes into the images that it is given, and not in every pass, which "
                "changes them for others; let its forward begin with a copy, x = x.clone()"
            )
        self.writes.setdefault(handed.kind, wrote)
        logits = logits_of(made)
        if self.classes is not None:
            require_logits(model, made, logits, (len(handed.images), self.classes))
        return None if logits is made else logits


def adopt(model: nn.Module, shape: InputShape) -> nn.Module:
    """`model` itself with a `Door`, its lazy layers settled; `ConfigError` if it is not a network that takes hooks."""
    if not isinstance(model, nn.Module):
        raise ConfigError(f"a network was wanted and {name_type(model)} was built; build a torch.nn.Module")
    if isinstance(model, torch.jit.ScriptModule):
        raise ConfigError(
            f"the network {model.original_name} is scripted, and nobody can listen to its layers; "
            "build the module itself, without torch.jit"
        )
    if find_door(model) is None:
        settle(model, shape)
        door = Door(shape)
        # Before hooks of the network's own, such as those that repeat channels: it is the images that stay.
        model.register_forward_pre_hook(door.enter, prepend=True)
        model.register_forward_hook(door.leave)
    return model


def find_door(model: nn.Module) -> Door | None:
    owners = (getattr(hook, "__self__", None) for hook in model._forward_pre_hooks.values())
    return next((owner for owner in owners if isinstance(owner, Door)), None)


def known_layers(model: nn.Module) -> Mapping[str, LayerSide]:
    """What `discover_layers` finds in an adopted network, looked for once; nothing where no pass of it succeeds."""
    door = find_door(model)
    if door is None:
        return {}
    if door.layers is None:
        try:
            with unchecked(model):
                door.layers = discover_layers(model, door.shape)
        except Exception:  # of anybody's forward function; whoever names a layer hears that there is none
            door.layers = {}
    return door.layers


@contextmanager
def unchecked(model: nn.Module) -> Iterator[None]:
    """Inside, the network may return anything."""
    door = find_door(model)
    if door is None:
        yield
        return
    classes, door.classes = door.classes, None
    try:
        yield
    finally:
        door.classes = classes


def settle(model: nn.Module, shape: InputShape) -> None:
    """Give lazy layers their shapes by a pass of black images; draws their weights from torch's global generator."""
    if not any(map(is_lazy, chain(model.parameters(), model.buffers()))):
        return
    modes = [(module, module.training) for module in model.modules()]
    with torch.no_grad():
        model.eval()(shape.blank(2, torch.empty(0)))
    for module, mode in modes:
        module.training = mode


def logits_of(made: object) -> Tensor | None:
    """The tensor itself; of a mapping or record its `logits`; of a tuple the first. Without axes of one pixel."""
    found = made
    if isinstance(made, Mapping):
        found = made.get("logits")
    elif not isinstance(made, Tensor):
        found = getattr(made, "logits", made[0] if isinstance(made, tuple | list) and made else None)
    if not isinstance(found, Tensor):
        return None
    return found.flatten(1) if found.ndim == 4 and found.shape[2:] == (1, 1) else found


def require_logits(model: nn.Module, made: object, logits: Tensor | None, wanted: tuple[int, int]) -> None:
    """`NetworkError` unless there is a floating number for each image and class."""
    if logits is not None and tuple(logits.shape) == wanted and logits.is_floating_point():
        return
    got = name_type(made)
    if logits is not None:
        got = f"{got} with" if logits is not made else "a tensor of"
        got = f"{got} {logits.dtype} of shape {tuple(logits.shape)}".replace("torch.", "")
    raise NetworkError(
        f"{name_type(model)} returned {got}, where logits of shape {wanted}, images by classes, were wanted: a "
        "tensor, alone, under 'logits' or first of a tuple; let its forward function return that"
    )
