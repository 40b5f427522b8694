"""The folder of one experiment: whose it is, and that only one process writes to it."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from automl_kd.errors import ResultError

MAY_CHANGE = {"trial", "finalists"}
"""Sections that a later sitting may change: they say where trials run and what is compared, not what was measured."""


def open_folder(folder: Path, record: Mapping[str, Any]) -> None:
    """Make the folder of the experiment `record`, or check that it is the one that is there.

    More `search.trials` than before is a continuation; any other difference is a `ResultError`, and nothing is changed.
    """
    path = folder / "experiment.json"
    if path.exists():
        difference = first_difference(comparable(read_record(folder)), comparable(record))
        if difference:
            raise ResultError(
                f"{folder} holds another experiment: {difference}; give this one another name or --out, or delete it"
            )
    elif folder.exists() and any(child.name != "lock" for child in folder.iterdir()):
        raise ResultError(f"{folder} is not empty and holds no experiment; give another --out")
    write_atomically(path, json.dumps(record, indent=1))


def read_record(folder: Path) -> dict[str, Any]:
    path = folder / "experiment.json"
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResultError(f"{path} cannot be read ({error}); is {folder} the folder of an experiment?") from error
    return record


def comparable(record: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in record.items() if key not in MAY_CHANGE}
    kept["search"] = {key: value for key, value in record["search"].items() if key != "trials"}
    return kept


def first_difference(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> str:
    """The first key in which two records differ, with both values; empty if none."""
    for key in [*new, *(key for key in old if key not in new)]:
        here, there = new.get(key), old.get(key)
        if here == there:
            continue
        if isinstance(here, Mapping) and isinstance(there, Mapping):
            return first_difference(there, here, f"{prefix}{key}.")
        return f"its {prefix}{key} is {json.dumps(there)}, here it is {json.dumps(here)}"
    return ""


def write_atomically(path: Path, text: str) -> None:
    """Write beside and rename, synced: whole or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f"_{path.name}.{os.getpid()}")
    try:
        with scratch.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


@contextmanager
def lock(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Be the only writer of a folder. The system releases the lock when the process ends, however it ends.

    `wait`: queue up behind another holder instead of raising `ResultError`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            raise ResultError(
                f"process {owner} is writing to {folder}; wait for it, or give this run another name or --out"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
