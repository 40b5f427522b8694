"""Parquet files written whole or not at all, and read with the newest schema whatever wrote them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from automl_kd import storage
from automl_kd.errors import FileError, ResultError
from automl_kd.files import require_file
from automl_kd.results.store.renamed_columns import find_stored_names
from automl_kd.results.store.row import check_columns

if TYPE_CHECKING:
    import pandas as pd

CATEGORIES = ("trial_kind", "role", "status", "space", "method", "dataset", "proxy")
SMALL_TABLE = 1000
UNCOMPRESSED: Mapping[str, Any] = {"compression": "none", "use_dictionary": False, "write_statistics": False}
PACKED: Mapping[str, Any] = {"compression": "zstd"}
"""How fewer and more rows than `SMALL_TABLE` are written: packing a single row takes longer and makes it larger."""


def to_table(records: Iterable[Mapping[str, object]], schema: pa.Schema) -> pa.Table:
    """Records, each with exactly the columns of `schema`, as a table."""
    listed = list(records)
    for record in listed:
        check_columns(record, schema)
    try:
        return pa.Table.from_pylist(listed, schema=schema)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ResultError(f"a record does not fit the types of the results table: {error}") from error


def write_parquet(table: pa.Table, path: Path) -> None:
    """Make `path` hold `table`, durably; a file already there is replaced in one step.

    An `OSError` (such as no space left) passes on and leaves `path` unchanged and nothing else behind. Only a
    killed process can leave its scratch file; its name begins with "_" and readers skip it.
    """
    with storage.replacing(path) as scratch, scratch.open("wb") as sink:
        pq.write_table(table, sink, **(UNCOMPRESSED if len(table) < SMALL_TABLE else PACKED))


def files(folder: Path, pattern: str = "*.parquet") -> list[Path]:
    """The Parquet files in `folder`, sorted by name, without scratch and hidden files. No folder, no files."""
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith(("_", ".")))


def ends_as_parquet(path: Path) -> bool:
    """Whether the file ends as Parquet does; one that was cut short does not."""
    try:
        pq.read_metadata(path)
    except (pa.ArrowInvalid, OSError):
        return False
    return True


def load_parquet(path: Path, schema: pa.Schema, identity: Sequence[str]) -> pa.Table:
    """The file at `path` in the shape of `schema`, with today's names for columns that it has under old ones.

    Columns it lacks are null, columns unknown to us are left out. `identity`: columns without which the file is not one
    of ours. Raises `ResultError` naming the file, or `FileNotFoundError` if there is none.
    """
    try:
        require_file(path)
        # Not pq.read_table, which would take folder names such as "trial_kind=search" for columns.
        with pq.ParquetFile(path) as file:
            here = file.schema_arrow.names
            names = find_stored_names(schema.names, here)
            # Threads take longer to start than a small table to read.
            stored = file.read(list(names.values()), use_threads=file.metadata.num_rows >= SMALL_TABLE)
    # What pyarrow raises for a file that is cut off, damaged or of a kind that it does not read.
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOENT:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from error
        reason = error.strerror if isinstance(error, FileError) else str(error).splitlines()[0]
        raise ResultError(
            f"{path} cannot be read as Parquet ({reason}); 'automl-kd doctor FOLDER --repair' moves it aside"
        ) from error
    found = find_stored_names(identity, here)
    if missing := [name for name in identity if name not in found]:
        raise ResultError(f"{path} has no column {missing[0]!r}, so it is not a file of results; move it elsewhere")
    try:
        return conform(stored, schema, names)
    # What a cast raises for values that do not fit, and for types between which there is none.
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ResultError(
            f"{path} has a column of another type than this version expects ({error}); read it with the version that"
            " wrote it"
        ) from error


def conform(stored: pa.Table, schema: pa.Schema, names: Mapping[str, str]) -> pa.Table:
    """`stored` in the shape of `schema`, whose columns have the `names` there."""
    columns = []
    for field in schema:
        column = stored[names[field.name]] if field.name in names else pa.nulls(len(stored), field.type)
        columns.append(column if column.type == field.type else column.cast(field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def to_frame(table: pa.Table) -> pd.DataFrame:
    """As pandas: integers Int64, text string, names of few kinds category, reals float64 with NaN, times in UTC."""
    import pandas as pd  # noqa: PLC0415 - slow to import, and some readers do without

    types = {pa.bool_(): pd.BooleanDtype(), pa.int64(): pd.Int64Dtype(), pa.string(): pd.StringDtype()}
    frame: pd.DataFrame = table.to_pandas(types_mapper=types.get)
    return frame.astype({name: "category" for name in CATEGORIES if name in frame.columns})
