"""The optional packages of an export."""

from __future__ import annotations

import importlib
from typing import Any

from automl_kd.errors import ExportError

EXPORT_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""Of the extra `export`."""


def require_package(name: str) -> Any:
    """The module called `name`; `ExportError` if its package is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ExportError(
            f"an export to ONNX needs the package {name.partition('.')[0]}; install it by pip install "
            "'automl-kd[export]', or export with --no-onnx"
        ) from error
