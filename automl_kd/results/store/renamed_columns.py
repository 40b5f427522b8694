"""Renamed columns: files with old names are read under today's names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from automl_kd.registry import suggestion

RENAMED_COLUMNS: Mapping[str, str] = {
    "run": "trial_kind",
    "architecture": "architecture_id",
    "label": "student",
    "setting": "config_hash",
    "compute": "compute_fraction",
    "reason": "failure_kind",
    "draws": "repeats",
    "val_largest": "val_majority_fraction",
}
"""Names of earlier versions, and what the columns are called now."""

FORMER_NAMES: Mapping[str, str] = {new: old for old, new in RENAMED_COLUMNS.items()}


def find_stored_names(wanted: Iterable[str], stored: Collection[str]) -> dict[str, str]:
    """Today's names of the columns `wanted` that a file has, and their names in it. `stored`: all names in it."""
    names = {name: name if name in stored else FORMER_NAMES.get(name, name) for name in wanted}
    return {name: there for name, there in names.items() if there in stored}


def suggest_column(name: str, columns: Collection[str]) -> str:
    """Suggest a column in place of one that does not exist."""
    return f"it is called {RENAMED_COLUMNS[name]!r} now" if name in RENAMED_COLUMNS else suggestion(name, columns)
