"""The rows and curves of one experiment on disk, and the reading of one or several.

A trial is a small file of its own, so writing needs no lock; `fold` gathers small files into one, because reading many
is slow. Loose files are newer than parts, and a part with a higher number newer than one with a lower.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from automl_kd import spec_names, storage
from automl_kd.errors import ResultError
from automl_kd.results.store import parquet
from automl_kd.results.store.columns import number_groups, to_mask
from automl_kd.results.store.config_hash import hash_configs
from automl_kd.results.store.folder import fetch_folder
from automl_kd.results.store.renamed_columns import suggest_column
from automl_kd.results.store.row import CURVE_SCHEMA, ROW_SCHEMA, Point, Row
from automl_kd.results.store.soundness import require_sound

if TYPE_CHECKING:
    import pandas as pd

TableKind = Literal["rows", "curves"]
SCHEMAS = {"rows": ROW_SCHEMA, "curves": CURVE_SCHEMA}
IDENTITY = {"rows": ("trial_kind", "role", "key"), "curves": ("trial_kind", "key")}
ORDER = {"rows": ["trial_kind", "started", "proposal", "role", "key"], "curves": ["trial_kind", "key", "epoch"]}
REPORTED = tuple(name for name in ROW_SCHEMA.names if name not in {"spec_json", "values_json"})
"""The columns of rows that reports use: all but the two that make up most of a row."""

LOOSE_FOLDERS = ("run=", "trial_kind=")
"""How the folders of loose files begin, in earlier versions and now. What lies in the former is the older."""

READ_ATTEMPTS = 10


class Results(NamedTuple):
    """`rows`: one per trial and role; `curves`: one per epoch; joined by experiment, trial_kind and key."""

    rows: pd.DataFrame
    curves: pd.DataFrame


class ResultTable:
    """The results of one experiment in `folder`. One process appends; anyone may read or fold at any time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def append(self, row: Row, curve: Iterable[Point] = ()) -> None:
        """Record a trial; what was recorded under the same trial_kind, role and key is replaced.

        The curve is written first: a row that exists has its curve. An `OSError` passes on; what was recorded before
        stays as it was.
        """
        owner = {"experiment": row.experiment, "trial_kind": row.trial_kind, "key": row.key}
        points = parquet.to_table(({**owner, **vars(point)} for point in curve), CURVE_SCHEMA)
        record = parquet.to_table([vars(row)], ROW_SCHEMA)
        parquet.write_parquet(points, self.folder / "curves" / f"trial_kind={row.trial_kind}" / f"{row.key}.parquet")
        parquet.write_parquet(
            record, self.folder / "rows" / f"trial_kind={row.trial_kind}" / f"{row_file_stem(row)}.parquet"
        )

    def read(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """All rows, by trial_kind and time; dtypes as in `parquet.to_frame`. A table not yet written to is empty.

        `columns`: only these, which spares reading the others.
        """
        return to_sorted_frame(self._load("rows", columns), "rows", columns)

    def load_rows(self, columns: Sequence[str]) -> pa.Table:
        """These columns of all rows in no order, and those that identify and order them; needs no pandas."""
        return self._load("rows", columns)

    def curves(self) -> pd.DataFrame:
        """All learning curves, one row per epoch, by trial_kind, key and epoch."""
        return to_sorted_frame(self._load("curves"), "curves")

    def keys(self, trial_kind: str, role: str | None = None) -> set[str]:
        """Keys of the trials recorded under `trial_kind` (and `role`), whatever their status."""
        rows = self._load("rows").select(["trial_kind", "role", "key"]).to_pylist()
        return {row["key"] for row in rows if row["trial_kind"] == trial_kind and role in {None, row["role"]}}

    def fold(self) -> None:
        """Gather all files of rows into one part, and all of curves. What is read does not change.

        The new part is complete before its inputs are deleted, so a kill at any point loses nothing; what it leaves
        twice, readers count once.
        """
        for kind in ("rows", "curves"):
            paths = self._files(kind)
            if len(paths) > 1 or any(is_loose(path) for path in paths):
                self._fold(kind)

    def set_aside(self, trial_kind: str, key: str, target: Path) -> None:
        """Take all that is recorded of a trial out of the table, into files of the same names below `target`."""
        for kind in ("rows", "curves"):
            for path in self._files(kind):
                table = self._load_file(path, kind)
                ours = pc.and_(pc.equal(table["trial_kind"], trial_kind), pc.equal(table["key"], key))
                if not pc.any(ours).as_py():
                    continue
                self.part(path, table, ours, target)

    def part(self, path: Path, table: pa.Table, chosen: Any, target: Path) -> None:
        """Move some rows of `table`, which the file at `path` holds, into one of the same name below `target`.

        `chosen`: which, as true or false for each.
        """
        chosen = pa.array(np.asarray(chosen, dtype=bool))
        aside = target / path.relative_to(self.folder)
        parquet.write_parquet(table.filter(chosen), aside.with_name(f"{aside.stem}-{uuid4().hex[:8]}.parquet"))
        rest = table.filter(pc.invert(chosen))
        if len(rest):
            parquet.write_parquet(rest, path)
        else:
            path.unlink()
            storage.remove_objects([path])

    def loose(self) -> int:
        """How many rows lie in files of their own, which `fold` would gather."""
        return sum(is_loose(path) for path in self._files("rows"))

    def _fold(self, kind: TableKind) -> None:
        paths = self._files(kind)
        stamps = {path: stamp(path) for path in paths}
        folded = newest([self._load_file(path, kind) for path in paths], kind)
        number = max([0, *(int(path.name.split("-")[1]) for path in paths if path.name.startswith("part-"))]) + 1
        # The token keeps two processes that fold at once from replacing each other's part.
        parquet.write_parquet(folded, self.folder / kind / f"part-{number:06d}-{uuid4().hex[:8]}.parquet")
        # One that is not as it was took the name of a newer row while we were folding.
        inputs = [path for path, seen in stamps.items() if stamp(path) == seen]
        for path in inputs:
            path.unlink(missing_ok=True)
        storage.remove_objects(inputs)

    def _files(self, kind: TableKind) -> list[Path]:
        """Oldest first: parts by number, then loose files, those of earlier versions before ours."""
        # Loose files are listed first: one that is folded meanwhile is then missing when it is opened, which is
        # noticed, rather than from both lists, which is not.
        folders = [path for pattern in LOOSE_FOLDERS for path in sorted((self.folder / kind).glob(f"{pattern}*"))]
        loose = [path for folder in folders for path in parquet.files(folder)]
        return parquet.files(self.folder / kind, "part-*.parquet") + loose

    def _load(self, kind: TableKind, columns: Sequence[str] | None = None) -> pa.Table:
        for _ in range(READ_ATTEMPTS):
            try:
                return newest([self._load_file(path, kind, columns) for path in self._files(kind)], kind)
            except FileNotFoundError:
                continue  # folded under our hands: its rows are in a new part by now
        raise ResultError(f"{self.folder} changes while it is being read; try again when the other process is done")

    def _load_file(self, path: Path, kind: TableKind, columns: Sequence[str] | None = None) -> pa.Table:
        """`columns`: these and those by which rows are identified and ordered; None for all."""
        schema = narrowed(kind, columns)
        table = with_current_methods(require_sound(parquet.load_parquet(path, schema, IDENTITY[kind]), kind, path))
        if "config_hash" in schema.names and table["config_hash"].null_count:
            specs = table if "spec_json" in schema.names else parquet.load_parquet(path, SPEC_ONLY, ("spec_json",))
            table = with_config_hashes(table, specs["spec_json"])
        return table


SPEC_ONLY = pa.schema([ROW_SCHEMA.field("spec_json")])


def narrowed(kind: TableKind, columns: Sequence[str] | None) -> pa.Schema:
    """The schema of what is loaded, in its usual order."""
    if columns is None:
        return SCHEMAS[kind]
    if isinstance(columns, str) or not all(isinstance(name, str) for name in columns):
        raise ResultError(f"columns must be a list of names, got {columns!r}; write ['key', 'test_accuracy']")
    if unknown := sorted(set(columns) - set(SCHEMAS[kind].names)):
        raise ResultError(f"{kind} have no column {unknown[0]!r}; {suggest_column(unknown[0], SCHEMAS[kind].names)}")
    wanted = {*columns, *IDENTITY[kind], *ORDER[kind]}
    return pa.schema([field for field in SCHEMAS[kind] if field.name in wanted])


def with_config_hashes(table: pa.Table, specs: pa.ChunkedArray) -> pa.Table:
    """`table` with the hashes that are missing in it, as far as there are specs."""
    pairs = zip(table["config_hash"].to_pylist(), specs.to_pylist(), strict=True)
    lacking = [config_hash is None and spec is not None for config_hash, spec in pairs]
    found = hash_configs(specs.filter(pa.array(lacking)).to_pylist())
    place = table.schema.get_field_index("config_hash")
    filled = pc.replace_with_mask(
        table["config_hash"].combine_chunks(), pa.array(lacking), pa.array(found, pa.string())
    )
    return table.set_column(place, table.schema.field(place), filled)


def is_loose(path: Path) -> bool:
    """Whether a file of rows or curves holds one trial."""
    return path.parent.name.startswith(LOOSE_FOLDERS)


def with_current_methods(table: pa.Table) -> pa.Table:
    """`table` with today's names of methods."""
    if "method" not in table.schema.names:
        return table
    place, found = table.schema.get_field_index("method"), table["method"]
    if spec_names.METHODS.keys().isdisjoint(pc.unique(found).to_pylist()):
        return table
    for old, new in spec_names.METHODS.items():
        found = pc.if_else(pc.equal(found, old), new, found)
    return table.set_column(place, table.schema.field(place), found)


def row_file_stem(row: Row) -> str:
    """The name of a row's file. In the trial kind "final" the role belongs to it: two roles may share one trial."""
    return row.key if row.role == row.trial_kind else f"{row.key}-{row.role}"


def stamp(path: Path) -> tuple[int, int] | None:
    """Changes when another file takes the name `path`; None if there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def newest(tables: list[pa.Table], kind: TableKind) -> pa.Table:
    """Merge the tables; of a trial that several hold, only the last one's rows stay."""
    if not tables:
        return SCHEMAS[kind].empty_table()
    if len(tables) == 1:
        return tables[0]
    stacked = pa.concat_tables(tables)
    source = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    trial = number_groups(stacked, IDENTITY[kind])
    last = np.full(len(stacked), -1)
    np.maximum.at(last, trial, source)
    kept = last[trial] == source
    # Copying is what takes time, so nothing is where nothing was replaced.
    return stacked if kept.all() else stacked.filter(to_mask(kept))


def to_sorted_frame(table: pa.Table, kind: TableKind, columns: Sequence[str] | None = None) -> pd.DataFrame:
    order = pc.sort_indices(table.select(ORDER[kind]), [(name, "ascending") for name in ORDER[kind]])
    wanted = table if columns is None else table.select(list(columns))
    moved = not np.array_equal(order.to_numpy(), np.arange(len(table)))
    return parquet.to_frame(wanted.take(order) if moved else wanted)


def read_results(path: Path | str, columns: Sequence[str] | None = None) -> Results:
    """The results in `path`: the folder of one experiment, or one that holds several, here or in a bucket.

    `columns`: only these of the rows, which spares reading the others.
    Raises `ResultError` if there are none, or if a file is damaged.
    """
    tables = [ResultTable(folder) for folder in experiment_folders(path)]
    rows = pa.concat_tables([table._load("rows", columns) for table in tables])
    curves = pa.concat_tables([table._load("curves") for table in tables])
    if not len(rows):
        raise ResultError(f"{path} holds an experiment without any finished trial; wait for the first one")
    return Results(to_sorted_frame(rows, "rows", columns), to_sorted_frame(curves, "curves"))


def experiment_folders(place: Path | str) -> list[Path]:
    """`place` itself if it holds rows, else the folders in it that do, sorted; without such, those up to two deeper.

    Fetched from a bucket.
    """
    path = storage.local_path(place)
    fetch_folder(path)
    if not path.is_dir():
        raise ResultError(f"there is no folder {path}; give the folder of an experiment, or one that holds several")
    folders = [path] if (path / "rows").is_dir() else []
    for depth in ("*/rows", "*/*/rows", "*/*/*/rows"):
        folders = folders or sorted(rows.parent for rows in path.glob(depth) if rows.is_dir())
    if not folders:
        raise ResultError(f"no results are in {path}; give the folder of an experiment (it holds rows/)")
    return folders
