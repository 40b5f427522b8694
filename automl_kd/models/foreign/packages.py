"""Optional packages."""

from __future__ import annotations

import importlib
from typing import Any

from automl_kd.errors import ConfigError


def library(name: str, extra: str) -> Any:
    """An optional package."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"models of {name} need the package {name}; install it by pip install 'automl-kd[{extra}]'"
        ) from error
