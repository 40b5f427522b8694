"""What can be tried of a user's own method without data: before its teacher is trained, not hours later."""

from __future__ import annotations

import builtins
import dis
import inspect
import math
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

from automl_kd.errors import AutoMLKDError, ConfigError

TRIED_MACS = 1_000_000


def require_usable(method: object, name: str) -> None:
    """`ConfigError` where the method called `name` takes other arguments, has wrong `macs` or uses unknown names."""
    arguments = {"__call__": ("spec", "report", "paths"), "macs": ("student", "teacher")}
    if hasattr(method, "cost"):
        arguments["cost"] = ("spec", "paths")
    for member, wanted in arguments.items():
        require_callable_with(getattr(method, member), f"{member} of method {name!r}", wanted)
    for member in arguments:
        if unknown := list(unknown_names(getattr(method, member))):
            raise ConfigError(
                f"{member} of method {name!r} uses the name {unknown[0]!r}, which its module does not define; import "
                "or correct it"
            )
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
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found) or found <= 0:
        raise ConfigError(
            f"macs of method {name!r} returns {found!r}, where the multiply-adds of one training image were wanted, a "
            "number above 0; correct it"
        )


def unknown_names(function: Any) -> Iterator[str]:
    """Names that a function's code looks up in its module, and that neither this nor Python defines."""
    plain = inspect.unwrap(getattr(function, "__func__", function))
    code, known = getattr(plain, "__code__", None), getattr(plain, "__globals__", {})
    for name in globals_read(code) if isinstance(code, CodeType) else ():
        if name not in known and not hasattr(builtins, name):
            yield name


def globals_read(code: CodeType) -> Iterator[str]:
    """Functions inside the code included; without names that it sets itself."""
    found = [(one.opname, one.argval) for one in dis.get_instructions(code)]
    stored = {name for operation, name in found if operation == "STORE_GLOBAL"}
    yield from (name for operation, name in found if operation == "LOAD_GLOBAL" and name not in stored)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from globals_read(inner)
