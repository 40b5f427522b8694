"""What can be tried of a user's own method without data: before its teacher is trained, not hours later."""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Callable
from typing import Any

from automl_kd.errors import AutoMLKDError, ConfigError

TRIED_MACS = 1_000_000


def require_usable(method: object, name: str) -> None:
    """`ConfigError` where the method called `name` takes other arguments or has wrong `macs`."""
    arguments = {"__call__": ("spec", "report", "paths"), "macs": ("student", "teacher")}
    if hasattr(method, "cost"):
        arguments["cost"] = ("spec", "paths")
    for member, wanted in arguments.items():
        require_callable_with(getattr(method, member), f"{member} of method {name!r}", wanted)
    require_macs(method, name)


def require_callable_with(function: Callable[..., object], title: str, wanted: tuple[str, ...]) -> None:
    """`ConfigError` for a function that cannot be called with as many arguments as `wanted` names."""
    try:
        inspect.signature(function).bind(*wanted)
    except TypeError as error:
        raise ConfigError(f"{title} cannot be called with ({', '.join(wanted)}): {error}; let it take these") from error
    except ValueError:  # of compiled code, which does not tell
        return


def require_macs(method: Any, name: str) -> None:
    """`ConfigError` unless its `macs` returns a number above 0."""
    try:
        found = method.macs(TRIED_MACS, TRIED_MACS)
    except AutoMLKDError:
        raise
    except Exception as error:  # a user's code may raise anything
        raise ConfigError(
            f"macs of method {name!r} fails ({type(error).__name__}: {error}); let it return the multiply-adds of one "
            "training image, given those of a forward pass of the student and of the teacher"
        ) from error
    if isinstance(found, bool) or not isinstance(found, numbers.Real) or not math.isfinite(found) or found <= 0:
        raise ConfigError(
            f"macs of method {name!r} returns {found!r}, where the multiply-adds of one training image were wanted, a "
            "number above 0; correct it"
        )
