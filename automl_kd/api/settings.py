"""Further fields of an experiment by dotted key, {"search.trials": 20}: the `--set` of the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from automl_kd.config.strict import as_plain
from automl_kd.errors import RecordError


def overrides_of(settings: Mapping[str, Any] | None) -> list[str]:
    """Each as "key=value" with a value as TOML writes it."""
    return [f"{key}={to_toml(as_plain(value), key)}" for key, value in (settings or {}).items()]


def to_toml(value: Any, key: str) -> str:
    """`RecordError` for what TOML has no way to write."""
    if isinstance(value, bool | str | Path):
        return json.dumps(value if isinstance(value, bool) else str(value), ensure_ascii=False)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(str(name))} = {to_toml(one, key)}" for name, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(to_toml(one, key) for one in value)}]"
    raise RecordError(f"{key} = {value!r} does not fit; give numbers, texts, lists or tables of them")
