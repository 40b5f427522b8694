"""Proxies as plain functions of a network and a batch, for programs: `automl_kd.proxies.naswot(model, images)`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from automl_kd.errors import ConfigError, RecordError
from automl_kd.models.costs.cost import count_cost
from automl_kd.models.foreign.adoption import adopt
from automl_kd.proxies.base import OfCost, ProxyEntry, Shared
from automl_kd.proxies.guard import untouched
from automl_kd.proxies.initialisation import normal_weights
from automl_kd.proxies.probe import Probe, make_probe
from automl_kd.proxies.readings import measure_student, settle_readings
from automl_kd.registry import name_type
from automl_kd.space import InputShape

NEED_LABELS = {
    "diswot_semantic",
    "epe_nas",
    "fisher",
    "grad_norm",
    "gradsign",
    "grasp",
    "plain",
    "snip",
    "zico",
}  # fmt: skip
"""Proxies that look at the labels."""

DETAILS = """
`model`: takes `images` and returns logits (batch, classes); it is left as it was, bit for bit.
`images`: float (batch, channels, height, width), normalised as for training, on the model's device.
`labels`: int (batch,), from 0; {labels}.
`teacher`: a network of as many classes, run as it is; {teacher}.
`seed`: of all randomness.

Returns a real number without a unit; higher promises a better student. `RecordError`, a `ValueError`, for arguments
that do not fit, `ConfigError` where the score cannot be computed or is not finite.

Source: {source}."""


@runtime_checkable
class ProxyCallable(Protocol):
    def __call__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor | None = None,
        *,
        teacher: nn.Module | None = None,
        seed: int = 0,
    ) -> float: ...


def describe_proxy(name: str, entry: ProxyEntry) -> ProxyCallable:
    """The proxy `name` as a function of a network and a batch."""

    def measured(
        model: nn.Module,
        images: Tensor,
        labels: Tensor | None = None,
        *,
        teacher: nn.Module | None = None,
        seed: int = 0,
    ) -> float:
        require_arguments(name, entry, model, images, labels, teacher)
        with untouched(model):
            shape = shape_for(model, images)
            adopt(model, shape)
            if isinstance(entry.proxy, OfCost):
                return float(entry.proxy.measure(count_cost(model, shape)))
            if entry.initialisation == "normal":
                normal_weights(model, "student", seed, 0)
            known = torch.zeros(len(images), dtype=torch.int64) if labels is None else labels
            probe = make_probe(images, known.to(images.device), shape, teacher)
            return read_value(name, entry, model.train(), probe, seed)

    measured.__name__ = measured.__qualname__ = name
    measured.__doc__ = docstring_of(name, entry)
    return measured


def read_value(name: str, entry: ProxyEntry, model: nn.Module, probe: Probe, seed: int) -> float:
    (found,) = settle_readings([measure_student({name: entry}, model, probe, seed)])
    if (reason := found[name].error).startswith("KeyError: 'p"):
        raise ConfigError(
            f"{name} reads the map before global pooling or the vector after it, and the model has no such feature "
            "layer; let it end in a global pooling and a linear layer, or set model.feature_layers"
        )
    if reason:
        raise ConfigError(f"{name}: {reason}")
    return found[name].value


def require_arguments(
    name: str,
    entry: ProxyEntry,
    model: object,
    images: object,
    labels: object,
    teacher: object,
) -> None:
    if not isinstance(model, nn.Module):
        raise RecordError(f"{name}: model is {name_type(model)}; give a torch.nn.Module")
    if not isinstance(images, Tensor) or images.ndim != 4 or not images.is_floating_point():
        got = f"{images.dtype} {tuple(images.shape)}" if isinstance(images, Tensor) else name_type(images)
        raise RecordError(f"{name}: images are {got}; give a float tensor (batch, channels, height, width)")
    if labels is None and name in NEED_LABELS:
        raise RecordError(f"{name} looks at labels and got none; give an integer tensor ({len(images)},)")
    if labels is not None and (not isinstance(labels, Tensor) or labels.is_floating_point()):
        raise RecordError(f"{name}: labels must be an integer tensor ({len(images)},); convert them")
    if entry.needs_teacher and not isinstance(teacher, nn.Module):
        raise RecordError(f"{name} compares with a teacher and got none; give teacher=a torch.nn.Module")


def shape_for(model: nn.Module, images: Tensor) -> InputShape:
    """What the model takes and returns, by a look at what it makes of two images."""
    with torch.no_grad():
        made = model.eval()(images[:2])
    if not isinstance(made, Tensor) or made.ndim != 2:
        raise RecordError(f"the model returned {name_type(made)}, where logits (batch, classes) were wanted")
    _, channels, height, width = images.shape
    return InputShape(channels, height, width, made.shape[1])


def docstring_of(name: str, entry: ProxyEntry) -> str:
    function = entry.proxy.measure if isinstance(entry.proxy, Shared | OfCost) else entry.proxy
    own = "" if isinstance(function, functools.partial) else inspect.getdoc(function) or ""
    head = own or f"Minus the loss {name.removeprefix('kd_')} between student and teacher."
    drawn = "\n\nThe model is measured with weights drawn from N(0, 1) by `seed`." * (entry.initialisation == "normal")
    return f"{head}{drawn}\n" + DETAILS.format(
        labels="needed" if name in NEED_LABELS else "not looked at",
        teacher="needed" if entry.needs_teacher else "not looked at",
        source=entry.source,
    )


def describe_proxies(table: Mapping[str, ProxyEntry]) -> dict[str, ProxyCallable]:
    return {name: describe_proxy(name, entry) for name, entry in table.items()}
