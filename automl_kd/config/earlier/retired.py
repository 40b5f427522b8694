"""The refusal of names that experiments had in earlier releases: one sentence with today's name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from automl_kd.errors import ConfigError
from automl_kd.spec_names import Retired, retired_names


def refuse_retired(record: Mapping[str, Any], where: str, remedy: str) -> None:
    """`ConfigError` for the first old name in an experiment. `remedy`: what to do about it."""
    first = next(retired_names(record), None)
    if first is not None:
        raise ConfigError(f"{where}: {describe_retired(first)}; {remedy}")


def describe_retired(one: Retired) -> str:
    if one.is_value:
        return f"{'.'.join(one.path)} = {one.old!r} is now called {one.new!r}"
    return f"{'.'.join(one.path)!r} is now called {'.'.join((*one.path[:-1], one.new))!r}"
