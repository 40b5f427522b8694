"""Kinds of experiment: a record for each, told by the section that it alone has."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Never, TypeVar

from automl_kd.config.experiment import Experiment
from automl_kd.errors import ConfigError

T = TypeVar("T")

CORE_KINDS: Mapping[str, type[Never]] = {}
"""The core has `Experiment` alone, whatever its sections."""


def choose_kind(record: Mapping[str, Any], kinds: Mapping[str, type[T]], where: str) -> type[Experiment] | type[T]:
    """The one of `kinds` whose section `record` has, else the core's; `ConfigError` for sections of two kinds."""
    found = [section for section in kinds if section in record]
    if not found:
        return Experiment
    kind = kinds[found[0]]
    own, core = names_of_fields(kind), names_of_fields(Experiment)
    others = [name for name in record if name not in own and (name in found or name in core)]
    if others:
        raise ConfigError(
            f"{where}: {found[0]!r} and {others[0]!r} are of two kinds of experiment; keep one of them, and make "
            "another file for the other"
        )
    return kind


def names_of_fields(kind: type[Any]) -> set[str]:
    return {item.name for item in dataclasses.fields(kind)}
