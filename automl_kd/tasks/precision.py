"""Losses in single precision, whatever the precision of the networks."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")


def in_float32(function: Callable[P, R]) -> Callable[P, R]:
    """`function` with half-precision tensors lifted to float32 and autocast off; float64 stays.

    Squares, exponentials and small differences lose too much in half precision.
    """

    @wraps(function)
    def lifted(*args: P.args, **kwargs: P.kwargs) -> R:
        device = next((value.device.type for value in args if isinstance(value, Tensor)), "cpu")
        with torch.autocast(device, enabled=False):
            values: Any = (lift(value) for value in args)
            named: Any = {name: lift(value) for name, value in kwargs.items()}
            return function(*values, **named)

    return lifted


def lift(value: object) -> object:
    half = isinstance(value, Tensor) and value.dtype in {torch.float16, torch.bfloat16}
    return value.float() if half and isinstance(value, Tensor) else value
