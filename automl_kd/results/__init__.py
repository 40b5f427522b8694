"""Results: rows and curves in Parquet, statistics, leaderboards, the baseline comparison and one HTML page.

Import `automl_kd.results.report.page` by itself: it loads matplotlib. The names below are imported when they are first
used, as pandas is slow to import and not all that reads results needs it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from automl_kd.results.store.row import Point, Row
    from automl_kd.results.store.table import Results, ResultTable, read_results

__all__ = ["Point", "ResultTable", "Results", "Row", "read_results"]

STORE_MODULES = {"Point": "row", "Row": "row", "ResultTable": "table", "Results": "table", "read_results": "table"}
"""Where in `store` each name is defined."""


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for."""
    if name not in STORE_MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"automl_kd.results.store.{STORE_MODULES[name]}"), name)
    globals()[name] = found
    return found
