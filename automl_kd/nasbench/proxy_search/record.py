"""The record of a proxy search: one Parquet file for each search, with every formula that it tried."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from automl_kd.results.store import parquet

FORMULA_SCHEMA = pa.schema(
    [
        ("search", pa.string()),
        ("seed", pa.int64()),
        ("labels", pa.int64()),
        ("sample", pa.int64()),
        ("index", pa.int64()),
        ("formula", pa.string()),
        ("members", pa.int64()),
        ("kendall", pa.float64()),
        ("objective", pa.float64()),
        ("seconds", pa.float64()),
    ]
)
"""`sample`: the seed by which the `labels` architectures were drawn. `kendall`: on those. `seconds`: from the start."""


def formula_file(folder: Path, key: str) -> Path:
    return folder / "formulas" / f"{key}.parquet"


def write_formulas(folder: Path, key: str, frame: pd.DataFrame) -> None:
    """Durably and whole. `frame` has the columns of the schema."""
    parquet.write_parquet(
        pa.Table.from_pandas(frame[FORMULA_SCHEMA.names], schema=FORMULA_SCHEMA, preserve_index=False),
        formula_file(folder, key),
    )


def read_formulas(folder: Path, keys: Sequence[str]) -> pd.DataFrame:
    """`ResultError` naming a file that cannot be read."""
    tables = [parquet.load_parquet(formula_file(folder, key), FORMULA_SCHEMA, FORMULA_SCHEMA.names) for key in keys]
    frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
    return frame


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Any frame, whole or not at all."""
    parquet.write_parquet(pa.Table.from_pandas(frame, preserve_index=False), path)
