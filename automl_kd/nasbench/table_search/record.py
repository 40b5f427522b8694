"""The record of tabular searches: one Parquet file for each search, and facts about them.

`searches/KEY.parquet`: incumbents of each seed at each mark. `fronts/KEY.parquet`: hypervolumes.
`untrained/KEY.parquet`: results of each seed's training-free search. `facts.json` holds their order on the page, and
how they were made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa

from automl_kd import files, storage
from automl_kd.errors import ResultError
from automl_kd.results.store import parquet

RecordKind = Literal["searches", "fronts", "untrained"]

WHO = [("task", pa.string()), ("search", pa.string()), ("seed", pa.int64())]
FOUND_COLUMNS = [
    ("architecture", pa.int64()),
    ("val_accuracy", pa.float64()),
    ("test_accuracy", pa.float64()),
    ("regret", pa.float64()),
]
RECORD_SCHEMAS: Mapping[RecordKind, pa.Schema] = {
    "searches": pa.schema([*WHO, ("axis", pa.string()), ("at", pa.float64()), *FOUND_COLUMNS]),
    "fronts": pa.schema([*WHO, ("device", pa.string()), ("at", pa.float64()), ("hypervolume", pa.float64())]),
    "untrained": pa.schema(
        [
            *WHO,
            *FOUND_COLUMNS,
            ("scored", pa.int64()),
            ("score_seconds", pa.float64()),
            ("trained", pa.int64()),
            ("train_seconds", pa.float64()),
        ]
    ),
}
"""`architecture` is the official number, -1 for none. Accuracies are fractions, times of one seed's search."""


@dataclass(frozen=True)
class Record:
    """All of it: `facts` as written, and the rows of each kind in the order in which they are shown."""

    folder: Path
    facts: Mapping[str, Any]
    searches: pd.DataFrame
    fronts: pd.DataFrame
    training_free: pd.DataFrame


def record_file(folder: Path, kind: RecordKind, key: str) -> Path:
    return folder / kind / f"{key}.parquet"


def write_search(folder: Path, kind: RecordKind, key: str, frame: pd.DataFrame) -> None:
    """Durably and whole. `frame` has the columns of the schema."""
    schema = RECORD_SCHEMAS[kind]
    parquet.write_parquet(
        pa.Table.from_pandas(frame[schema.names], schema=schema, preserve_index=False), record_file(folder, kind, key)
    )


def write_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """Written last: a folder with facts is complete."""
    storage.write(folder / "facts.json", json.dumps(facts, indent=1))


def read_tabular_record(folder: Path) -> Record:
    """`ResultError` for what is missing or damaged."""
    path = folder / "facts.json"
    try:
        facts = dict(files.read_json(path))
        keys = {kind: list(facts["parts"][kind]) for kind in RECORD_SCHEMAS}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResultError(f"{path} cannot be read ({error}); run the search again") from error
    searches, fronts, training_free = (read_searches(folder, kind, keys[kind]) for kind in RECORD_SCHEMAS)
    return Record(folder, facts, searches=searches, fronts=fronts, training_free=training_free)


def read_searches(folder: Path, kind: RecordKind, keys: list[str]) -> pd.DataFrame:
    schema = RECORD_SCHEMAS[kind]
    try:
        tables = [parquet.load_parquet(record_file(folder, kind, key), schema, schema.names) for key in keys]
    except FileNotFoundError as error:
        raise ResultError(f"{error.filename} is missing; run the search again, which makes it anew") from error
    frame: pd.DataFrame = pa.concat_tables(tables or [schema.empty_table()]).to_pandas()
    return frame
