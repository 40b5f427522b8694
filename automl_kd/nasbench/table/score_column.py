"""One score for each architecture of the NAS-Bench-201 table, from a file of scores of either kind."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from automl_kd.errors import ConfigError, ResultError
from automl_kd.nasbench.table.columns import Reals
from automl_kd.nasbench.table.other_networks import without_others
from automl_kd.nasbench.table.table import Table
from automl_kd.registry import suggestion
from automl_kd.results.store import parquet
from automl_kd.results.store.renamed_columns import find_stored_names


@dataclass(frozen=True, eq=False)
class ScoreColumn:
    """`values`: one for each row of the table, higher promises better, NaN where there is none.

    `seconds`: mean time of one score, NaN if not on record. `source`: what it was read from. `digest`: of the values.
    """

    name: str
    values: Reals
    seconds: float
    source: str

    @property
    def missing(self) -> int:
        return int(np.isnan(self.values).sum())

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.values.tobytes() + repr(self.seconds).encode()).hexdigest()[:16]


def read_column(
    table: Table, path: Path, name: str, *, column: str, dataset: str, required: bool, seconds: str = ""
) -> ScoreColumn:
    """The score `column` of `path`: a file with a row for each architecture and proxy, or with a column for each.

    The former has columns proxy, score and student, as `automl-kd score` writes it (a folder of such files will do);
    scores with several seeds are averaged. The latter has arch_index. Where rows name a dataset, those about `dataset`
    count; if there are none and it is not `required`, those about the only one there is. Scores of an aggregate that
    ranked within several sets of architectures count within the largest. `ConfigError` also for scores of other
    networks than the table's, as far as rows name space, dataset and params; beside others these are left out.
    """
    columns = ("proxy", "student", "score", "seconds", "dataset", "space", "params", "among", "arch_index")
    stored = read_score_columns(path, (*columns, column, seconds))
    if "proxy" in stored.column_names:
        stored, key, score, timer = of_proxy(stored, column, path), "student", "score", "seconds"
    else:
        key, score, timer = "arch_index", column, seconds
    for wanted in filter(None, (key, score, timer)):
        if wanted not in stored.column_names:
            raise ConfigError(f"{path} has no column {wanted!r}; {suggestion(wanted, column_names(path))}")
    about, stored = of_dataset(stored, dataset, required, path)
    if key == "student":
        stored, within = of_largest(of_the_table(stored, table))
        about += within
    frame = stored.select([key, score, *filter(None, [timer])]).to_pandas()
    keys = table.arch_str if key == "student" else table.arch_index
    means = frame.groupby(key, observed=True)[score].mean().reindex(pd.Index(keys))
    values = means.to_numpy(dtype=np.float64)
    values = np.where(np.isfinite(values), values, np.nan)
    if np.isnan(values).all():
        raise ConfigError(f"{path} scores none of the table's architectures by {column!r}; score the whole space first")
    spent = float(frame[timer].mean()) if timer else float("nan")
    return ScoreColumn(name, values, spent, f"{column} of {path.name}{about}")


def read_score_columns(path: Path, names: tuple[str, ...]) -> pa.Table:
    """A file, or all files of scores in a folder: those of its columns that are in `names`."""
    files = score_column_files(path)
    if not files:
        raise ConfigError(f"no scores are in {path}; make some with 'automl-kd score', or name a Parquet file")
    try:
        return pa.concat_tables([read_columns(file, names) for file in files], promote_options="default")
    # What pyarrow raises for damaged files, and for files whose columns have types that do not go together.
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ResultError(f"{path} cannot be read as scores ({reason}); copy it or score again") from error


def score_column_files(path: Path) -> list[Path]:
    return [path] if path.is_file() else parquet.files(path / "scores") or parquet.files(path)


def read_columns(path: Path, names: tuple[str, ...]) -> pa.Table:
    with pq.ParquetFile(path) as file:
        found = find_stored_names(names, file.schema_arrow.names)
        stored = file.read(list(found.values()))
    return pa.table({name: stored[there] for name, there in found.items()})


def column_names(path: Path) -> list[str]:
    """Of a file, or of the first one in a folder."""
    return list(pq.read_schema(score_column_files(path)[0]).names)


def of_proxy(stored: pa.Table, proxy: str, path: Path) -> pa.Table:
    names = stored["proxy"].unique().to_pylist()
    if proxy not in names:
        raise ConfigError(f"{path} has no scores by {proxy!r}; {suggestion(proxy, [str(name) for name in names])}")
    return stored.filter(pc.equal(stored["proxy"], proxy))


def of_dataset(stored: pa.Table, dataset: str, required: bool, path: Path) -> tuple[str, pa.Table]:
    """What the rows are about, in words if it is not `dataset`, and the rows."""
    if "dataset" not in stored.column_names:
        return "", stored
    names = [str(name) for name in stored["dataset"].unique().to_pylist()]
    about = "" if dataset in names else f", scored on {names[0]}"
    if dataset not in names and (required or len(names) > 1):
        raise ConfigError(f"{path} has no scores about dataset {dataset!r}; {suggestion(dataset, names)}")
    return about, stored.filter(pc.equal(stored["dataset"], names[0] if about else dataset))


def of_the_table(stored: pa.Table, table: Table) -> pa.Table:
    """The rows without those of other networks; `ConfigError` if that leaves none."""
    names = ["space", "dataset", "student", "params"]
    if not set(names) <= set(stored.column_names):
        return stored
    kept, others = without_others(stored.select(names).to_pandas(), table)
    if others and kept.empty:
        raise ConfigError(others[0])
    return stored.take(pa.array(kept.index)) if others else stored


def of_largest(stored: pa.Table) -> tuple[pa.Table, str]:
    """The rows ranked within the most architectures, and within how many, in words if there are others."""
    sets = stored["among"].unique().drop_null().to_pylist() if "among" in stored.column_names else []
    if not sets or (len(sets) == 1 and not stored["among"].null_count):
        return stored, ""
    return stored.filter(pc.equal(stored["among"], max(sets))), f", ranked within {max(sets):,.0f} architectures"
