"""Scores on their way: one file for each batch that was read, until all are there and become one table."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from automl_kd import storage
from automl_kd.errors import ResultError
from automl_kd.results.store import parquet

PART_SCHEMA = pa.schema(
    [
        ("function", pa.int64()),
        ("draw", pa.int64()),
        ("proxy", pa.string()),
        ("value", pa.float64()),
        ("seconds", pa.float64()),
        ("error", pa.string()),
    ]
)
"""`function`: its number in the run. `value`: null if there is an `error`."""


def write_batch(folder: Path, number: int, records: Sequence[Mapping[str, object]]) -> None:
    """Batch `number`, durably and whole."""
    parquet.write_parquet(pa.Table.from_pylist(list(records), schema=PART_SCHEMA), folder / f"{number:06d}.parquet")


def finished_batches(folder: Path) -> set[int]:
    """Which batches are there, whole; a damaged file counts for nothing, and is written again."""
    return {int(path.stem) for path in batches(folder) if parquet.ends_as_parquet(path)}


def batches(folder: Path) -> list[Path]:
    return [path for path in parquet.files(folder) if path.stem.isdigit()]


def read_batches(folder: Path) -> pd.DataFrame:
    """All batches; `ResultError` naming a file that cannot be read."""
    tables = [parquet.load_parquet(path, PART_SCHEMA, ("function", "proxy")) for path in batches(folder)]
    if not tables:
        raise ResultError(f"{folder} holds no scores; run the same command again")
    frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
    return frame


def remove_batches(folder: Path, new: Sequence[Path] = ()) -> None:
    """They are in the table now, or worth nothing; then the folders that are `new`, inner ones first, go as well."""
    if folder.exists():
        files = [*batches(folder), folder / storage.LEASE]
        shutil.rmtree(folder)
        storage.remove_objects(files)
    for empty in new:
        if empty.exists() and not any(empty.iterdir()):
            empty.rmdir()
