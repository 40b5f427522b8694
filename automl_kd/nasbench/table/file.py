"""The files of the NAS-Bench-201 table: what they must hold, and one sentence for each way in which they do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from automl_kd.errors import ResultError
from automl_kd.nasbench.table import cells
from automl_kd.nasbench.table.columns import PATTERN, TABLE_DATASETS, Integers, Reals

TABLE_FILE, HARDWARE = "nasbench201.parquet", "nasbench201_hardware.parquet"
TIME = "cifar10_trainhalf_train_time_12_s"
REQUIRED = (
    "arch_index",
    "arch_str",
    TIME,
    *(
        f"{dataset}_{what}"
        for dataset in TABLE_DATASETS
        for what in ("test_acc_200", "valid_acc_12", "params_m", "flops_m")
    ),
)

FORMAT_KEY, FORMAT = b"automl_kd.nasbench201", b"1"
"""Written into the file by the importer. A file without it is judged by its columns alone."""

AGAIN = "copy or import it again"
NOWHERE = -1.0
"""What the hardware table has in place of the latency of an architecture that does not run on a device."""


def read_table(path: Path) -> tuple[Integers, tuple[str, ...], NDArray[np.uint8], dict[str, Reals]]:
    """Official numbers, cells, their operations, and all other columns by name; rows sorted by number."""
    stored = read_table_file(path, REQUIRED)
    index, order = official_numbers(stored, path)
    strings = stored["arch_str"].take(pa.array(order))
    encodings = checked_cells(strings, index, path)
    names = [name for name in stored.column_names if name not in {"arch_index", "arch_str"}]
    columns = {name: reals(stored, name, path)[order] for name in names}
    for name in filter(PATTERN.fullmatch, columns):
        check_percent(name, columns[name], path)
    for values in (index, *columns.values()):
        values.flags.writeable = False
    return index, tuple(strings.to_pylist()), encodings, columns


def read_hardware(path: Path, index: Integers) -> dict[str, Reals]:
    """Its columns by name, at the rows `index`; NaN where it has no such row or no measurement."""
    stored = read_table_file(path, ("arch_index",))
    known, order = official_numbers(stored, path)
    place = np.minimum(np.searchsorted(known, index), len(known) - 1)
    absent = known[place] != index
    columns = {}
    for name in stored.column_names:
        if name != "arch_index":
            values = reals(stored, name, path)[order][place]
            values[absent | (values == NOWHERE)] = np.nan
            values.flags.writeable = False
            columns[name] = values
    return columns


def read_table_file(path: Path, required: tuple[str, ...]) -> pa.Table:
    """The file, if it can be read and has the `required` columns and at least one row."""
    try:
        with pq.ParquetFile(path) as file:
            stored = file.read()
    # What pyarrow raises for a file that is cut off, damaged or of a kind that it does not read.
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        if getattr(error, "errno", None):  # the system's refusal; pyarrow's own complaints carry no number
            raise
        reason = str(error).splitlines()[0]
        raise ResultError(f"{path} is damaged or no Parquet file ({reason}); {AGAIN}") from error
    written = (stored.schema.metadata or {}).get(FORMAT_KEY, FORMAT)
    if written != FORMAT:
        raise ResultError(
            f"{path} is of format {written.decode(errors='replace')} and this version reads format {FORMAT.decode()}; "
            "import it again with this version"
        )
    if missing := [name for name in required if name not in stored.column_names]:
        raise ResultError(
            f"{path} has no column {missing[0]!r}, so it is another table or another version of this one; {AGAIN}"
        )
    if not len(stored):
        raise ResultError(f"{path} has no rows; {AGAIN}")
    return stored


def official_numbers(stored: pa.Table, path: Path) -> tuple[Integers, Integers]:
    """The official numbers, ascending, and the rows in that order."""
    found = reals(stored, "arch_index", path)
    if not (np.isin(found, np.arange(cells.CELL_COUNT)).all() and len(np.unique(found)) == len(found)):
        raise ResultError(
            f"the column arch_index of {path} is not made of distinct numbers from 0 to {cells.CELL_COUNT - 1} (it has "
            f"{len(found)} rows); {AGAIN}"
        )
    order = np.argsort(found)
    return found[order].astype(np.int64), order


def checked_cells(strings: pa.ChunkedArray, index: Integers, path: Path) -> NDArray[np.uint8]:
    """The operations of the cells, which must be those that the benchmark gives to the numbers `index`."""
    try:
        encodings = cells.encode([str(text) for text in strings.to_pylist()])
    except ResultError as error:
        raise ResultError(f"{path} cannot be used: {error}") from error
    wrong = cells.lexicographic_ranks(encodings) != cells.official_ranks()[index]
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise ResultError(
            f"{path} gives number {index[first]} to {strings[first]}, which has another number in NAS-Bench-201, so it "
            f"is a table of another version; {AGAIN}"
        )
    encodings.flags.writeable = False
    return encodings


def reals(stored: pa.Table, name: str, path: Path) -> Reals:
    """A column as 64-bit floats, NaN for null."""
    column = stored[name]
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise ResultError(f"the column {name} of {path} holds {column.type} in place of numbers; {AGAIN}")
    return np.array(column.cast(pa.float64()).to_numpy(zero_copy_only=False))


def check_percent(name: str, values: Reals, path: Path) -> None:
    known = values[~np.isnan(values)]
    if len(known) and not (known.min() >= 0 and 1 < known.max() <= 100):
        # Where all are below 1 % they are fractions: chance is 0.83 % at the least, and nobody tabulates only failures.
        hint = "multiply fractions by 100, or " if known.min() >= 0 and known.max() <= 1 else ""
        raise ResultError(
            f"the column {name} of {path} goes from {known.min():g} to {known.max():g}, and accuracies are in percent "
            f"there; {hint}{AGAIN}"
        )
