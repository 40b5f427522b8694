"""Networks from elsewhere: torchvision's classifiers, and whatever a function of the user's builds."""

from __future__ import annotations

import importlib
from typing import Any

from torch import Tensor, nn

from automl_kd.errors import ConfigError, DataError, UnknownNameError
from automl_kd.registry import load_reference, name_type, suggestion
from automl_kd.space import InputShape


def torchvision_model(name: str, shape: InputShape) -> nn.Module:
    """`torchvision.models` network `name` without trained weights, with `shape.classes` outputs.

    A grey image is repeated to three channels by a hook, so that the network keeps torchvision's parameter names.
    These networks expect large images; whether a small one survives their strides is for the caller to see.
    Raises `UnknownNameError` for a name that torchvision does not have, `DataError` for other numbers of channels.
    """
    known = torchvision_names()
    if name not in known:
        raise UnknownNameError(f"torchvision has no classifier called {name!r}; {suggestion(name, known)}")
    if shape.channels not in (1, 3):
        raise DataError(
            f"torchvision's networks take images of 1 or 3 channels and these have {shape.channels}; "
            "take a model of the zoo, or module:function"
        )
    models: Any = importlib.import_module("torchvision.models")
    model: nn.Module = models.get_model(name, weights=None, num_classes=shape.classes, **size_options(name, shape))
    if shape.channels == 1:
        model.register_forward_pre_hook(repeat_channel)
    return model


def size_options(name: str, shape: InputShape) -> dict[str, Any]:
    """Arguments of the networks that are made for images of one size, which is 224 unless it is given."""
    if name.startswith("vit_"):
        return {"image_size": shape.height}
    return {"input_size": (shape.height, shape.width)} if name.startswith("maxvit") else {}


def torchvision_names() -> list[str]:
    """All networks of torchvision that classify."""
    # Imported here: it costs a second that experiments with the zoo need not pay.
    models: Any = importlib.import_module("torchvision.models")
    names: list[str] = models.list_models(module=models)
    return names


def repeat_channel(_module: nn.Module, given: tuple[Tensor]) -> tuple[Tensor]:
    """(batch, 1, height, width) to (batch, 3, height, width), without copying."""
    return (given[0].expand(-1, 3, -1, -1),)


def referenced_model(reference: str, shape: InputShape) -> nn.Module:
    """What the function `module:function` returns for `shape`; `ConfigError` unless that is a network."""
    function = load_reference(reference)
    if not callable(function):
        raise ConfigError(f"{reference!r} is of type {type(function).__name__}; name a function of an InputShape")
    model = function(shape)
    if not isinstance(model, nn.Module):
        raise ConfigError(f"{reference!r} returned {name_type(model)}; let it return a torch.nn.Module")
    return model
