"""Learned shares of an experiment's teachers, kept beside its results: a later session takes the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from automl_kd import files, storage

SHARES_FILE = "teacher_shares.json"
"""Plain values: the hash of what the shares depend on, the `shares`, the number of `images`, and a `sentence`."""


def write_shares(folder: Path, found: Mapping[str, Any]) -> None:
    storage.write(folder / SHARES_FILE, json.dumps(found, indent=1))


def read_shares(folder: Path) -> dict[str, Any]:
    """Empty where none were learned, or the file is damaged."""
    storage.pull_file(folder / SHARES_FILE)
    try:
        found = files.read_json(folder / SHARES_FILE)
    except OSError:
        return {}
    return found if isinstance(found, dict) else {}


def shares_line(folder: Path) -> str:
    """The shares in one sentence, empty where none were learned."""
    return str(read_shares(folder).get("sentence", ""))
