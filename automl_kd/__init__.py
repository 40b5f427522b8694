"""Given a teacher and a budget, find the student and the way of teaching it, and prove that it was worth it.

```python
import automl_kd as akd

budget = akd.Budget(params=300_000)
result = akd.search("search_spaces.resnet:SPACE", "resnet56", "digits", budget=budget, out="results/mine")
print(result.verdict)
```

Everything is imported when it is first used, so that importing the package stays quick.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from automl_kd import losses, methods, proxies
    from automl_kd.api.compressing import Compressed, compress
    from automl_kd.api.exporting import load_student
    from automl_kd.api.records import Teacher
    from automl_kd.api.result import Result
    from automl_kd.api.run import compare_methods as compare
    from automl_kd.api.run import distill, search
    from automl_kd.api.run import open_experiment as load_experiment
    from automl_kd.api.scoring import rank_by_proxies as score
    from automl_kd.config import Budget
    from automl_kd.results.store.table import read_results
    from automl_kd.space import SearchSpace
    from automl_kd.spec import Preprocessing, Recipe

__all__ = [
    "Budget",
    "Compressed",
    "Preprocessing",
    "Recipe",
    "Result",
    "SearchSpace",
    "Teacher",
    "__version__",
    "compare",
    "compress",
    "distill",
    "load_experiment",
    "load_student",
    "losses",
    "methods",
    "proxies",
    "read_results",
    "score",
    "search",
]

PUBLIC = {
    "Result": "api.result:Result",
    "SearchSpace": "space:SearchSpace",
    "Teacher": "api.records:Teacher",
    "Compressed": "api.compressing:Compressed",
    "compare": "api.run:compare_methods",
    "compress": "api.compressing:compress",
    "distill": "api.run:distill",
    "load_experiment": "api.run:open_experiment",
    "load_student": "api.exporting:load_student",
    "read_results": "results.store.table:read_results",
    "score": "api.scoring:rank_by_proxies",
    "search": "api.run:search",
}
"""Where each public name is defined."""

SOURCE_VERSION = "0.1.0"
"""The version where the package is not installed, as in a source tree on PYTHONPATH; pyproject.toml says the same."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name == "__version__":
        found: Any = installed_version()
    elif name in {"losses", "methods", "proxies"}:
        found = importlib.import_module(f"automl_kd.{name}")
    elif name in {"Budget", "Preprocessing", "Recipe"}:
        found = importlib.import_module("automl_kd.api.records").RECORDS[name]
    elif name in PUBLIC:
        module, _, attribute = PUBLIC[name].partition(":")
        found = getattr(importlib.import_module(f"automl_kd.{module}"), attribute)
    else:
        raise AttributeError(f"module 'automl_kd' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def installed_version() -> str:
    try:
        return importlib.metadata.version("automl-kd")
    except importlib.metadata.PackageNotFoundError:
        return SOURCE_VERSION
