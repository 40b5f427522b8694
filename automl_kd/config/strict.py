"""Records that a Python program makes are checked as strictly, and in the same words, as those of a TOML file."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from functools import wraps
from typing import Any, TypeVar

from automl_kd.config.reading import parse_record
from automl_kd.errors import ConfigError, RecordError

T = TypeVar("T")


def strict(kind: type[T], name: str = "") -> type[T]:
    """The dataclass `kind` itself, which from now on checks every field when it is made.

    `RecordError` for an unknown keyword, a wrong type, or a number that is not finite or out of range. A whole number
    becomes a real one where the field is real, so that equal records have equal hashes. `name`: by which programs know
    it, if not by its own.
    """
    record: Any = kind
    where = name or kind.__name__
    plain = record.__init__
    _, *parameters = inspect.signature(plain).parameters.values()
    nameless = [one.name for one in parameters if one.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]

    @wraps(plain)
    def make_checked(self: Any, *values: Any, **named: Any) -> None:
        if len(values) > len(nameless):
            raise RecordError(f"{where} got {values[-1]!r} without its name; write it as field=value")
        checked = check_record(kind, {**dict(zip(nameless, values, strict=False)), **named}, where)
        for item in dataclasses.fields(record):
            object.__setattr__(self, item.name, getattr(checked, item.name))

    record.__init__ = make_checked
    return kind


def check_record(kind: type[T], given: Mapping[str, Any], where: str) -> T:
    """The dataclass `kind` with the fields given, as if they stood in a file; `RecordError` unless they fit."""
    plain = {name: as_plain(value) for name, value in given.items()}
    try:
        return parse_record(kind, plain, where)
    except ConfigError as error:
        raise RecordError(str(error)) from error


def as_plain(value: Any) -> Any:
    """A record as a table; any other value as it is."""
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value


def strict_subclass(kind: type[T]) -> type[T]:
    """A subclass of the dataclass `kind` that is `strict`, with its name and its docstring."""
    made: Any = dataclasses.make_dataclass(
        kind.__name__, (), bases=(kind,), frozen=True, kw_only=True, namespace={"__doc__": kind.__doc__}
    )
    made.__module__ = "automl_kd"
    strict_kind: type[T] = strict(made)
    return strict_kind
