"""The optional packages of an export."""

from __future__ import annotations

import importlib
from typing import Any

from automl_kd.errors import ExportError

EXPORT_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""Of the extra `export`."""


def require_export_packages(otherwise: str) -> None:
    """`ExportError` if one is not installed; `otherwise`: what to do without it."""
    for name in EXPORT_PACKAGES:
        require_package(name, otherwise)


def require_package(name: str, otherwise: str = "export with --no-onnx") -> Any:
    """The module called `name`; `ExportError` if its package is not installed. `otherwise`: what to do without it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ExportError(
            f"an export to ONNX needs the package {name.partition('.')[0]}; install it by pip install "
            f"'automl-kd[export]', or {otherwise}"
        ) from error
