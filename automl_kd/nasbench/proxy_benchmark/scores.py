"""Scores of many proxies, laid out along the architectures of a benchmark.

Read from the long tables that scoring writes, one row per architecture, proxy and seed, and turned into one array for
each proxy, so that nothing later loops over architectures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from automl_kd.errors import ResultError
from automl_kd.results.store import parquet
from automl_kd.results.store.row import SCORE_SCHEMA

Reals = NDArray[np.float64]
ArchitectureMask = NDArray[np.bool_]

WAY = ["space", "proxy", "dataset", "teacher", "repeats", "images", "among"]
"""What makes two scores of one architecture comparable, besides the seed."""

FILE_ROWS = "file_rows"
"""A column of what is read: how many rows the score's file has."""

REQUIRED_SCORES = pa.schema(
    [SCORE_SCHEMA.field(name) for name in (*WAY, "seed", "student", "score", "seconds", "params", "macs")]
)


@dataclass(frozen=True, eq=False)
class ProxyScores:
    """Scores of one proxy, computed in one way, on n architectures; higher promises better.

    `values`, `asked`: (seeds, n); a value is not finite where the proxy failed, and where it was not asked.
    `seconds`: mean time of one architecture, NaN if none is on record. `dataset`: whose images it was shown. `among`:
    within how many architectures an aggregate ranked, 0 for a single proxy and where it is not on record; `narrower`:
    within how many it ranked in scores that are left out for these.
    """

    proxy: str
    space: str
    dataset: str
    teacher: str
    repeats: int
    images: int
    seeds: tuple[int, ...]
    values: Reals
    asked: ArchitectureMask
    seconds: float
    among: int = 0
    narrower: tuple[int, ...] = ()

    @cached_property
    def leading(self) -> ArchitectureMask:
        """Of each seed whether it was asked about as many architectures as any, and the same ones as the first such."""
        numbers = self.asked.sum(axis=1)
        first = self.asked[int(numbers.argmax())]
        same: ArchitectureMask = (self.asked == first).all(axis=1)
        return same

    @property
    def rows(self) -> ArchitectureMask:
        """The architectures that the leading seeds were asked about, (n,)."""
        rows: ArchitectureMask = self.asked[int(self.leading.argmax())]
        return rows

    @property
    def common(self) -> ArchitectureMask:
        """The architectures that every seed was asked about, (n,)."""
        common: ArchitectureMask = np.logical_and.reduce(self.asked)
        return common

    @cached_property
    def ranking(self) -> Reals:
        """`values` with failures, also those that came to infinity, below every score."""
        return np.where(np.isfinite(self.values), self.values, -np.inf)

    @property
    def failed(self) -> int:
        """On how many of `rows` scoring failed, for the leading seeds together."""
        return int((~np.isfinite(self.values[self.leading][:, self.rows])).sum())


def read_long(paths: Sequence[Path]) -> pd.DataFrame:
    """The scores of score files and of folders that hold some; text as categories. `ResultError` if there are none.

    Besides the columns of scores there is `FILE_ROWS`.
    """
    files = [file for path in paths for file in score_files(path)]
    table = pa.concat_tables([read_score_file(file) for file in files])
    if not len(table):
        raise ResultError(f"{paths[0]} holds no scores; make some with 'automl-kd score'")
    text = [field.name for field in REQUIRED_SCORES if field.type == pa.string()]
    for name in text:
        table = table.set_column(table.column_names.index(name), name, table[name].dictionary_encode())
    frame: pd.DataFrame = table.to_pandas()
    return frame


def read_score_file(file: Path) -> pa.Table:
    table = parquet.load_parquet(file, REQUIRED_SCORES, ("architecture_id", "proxy", "score"))
    return table.append_column(FILE_ROWS, pa.array(np.full(len(table), len(table))))


def score_files(path: Path) -> list[Path]:
    """A score file itself, or those under `path/scores`."""
    if path.is_file():
        return [path]
    if found := parquet.files(path / "scores"):
        return found
    raise ResultError(f"no scores are in {path}; give a folder that 'automl-kd score' wrote to, or one of its files")


def arrange(scores: pd.DataFrame, labels: Sequence[str]) -> list[ProxyScores]:
    """One entry for each proxy and way of asking it about architectures with these labels; others are left out.

    Of several scores of one architecture by one seed, asked for in the same way, that of the file with the most rows
    counts, of equally long files that of the last read; a failure only where there is no score. Of entries that differ
    in nothing but `among` the one with the most is kept.
    """
    places = pd.Index(labels).get_indexer(scores["student"].cat.categories)
    place = places[scores["student"].cat.codes]
    known = scores.assign(place=place)[place >= 0]
    # Stable, and the last key is the first to sort by: of several scores the one to count comes last.
    known = known.iloc[np.lexsort((known[FILE_ROWS], known["score"].notna()))]
    groups = known.groupby(WAY, observed=True, dropna=False, sort=True)
    return widest([proxy_scores(dict(zip(WAY, way, strict=True)), ours, len(labels)) for way, ours in groups])


def widest(entries: Sequence[ProxyScores]) -> list[ProxyScores]:
    """Of entries that differ only in `among` the one with the most, and in it what the others had."""
    groups: dict[tuple[object, ...], list[ProxyScores]] = {}
    for one in entries:
        groups.setdefault(tuple(getattr(one, name) for name in WAY if name != "among"), []).append(one)
    found = []
    for ours in groups.values():
        *others, most = sorted(ours, key=lambda one: one.among)
        found.append(replace(most, narrower=tuple(one.among for one in others)))
    return found


def proxy_scores(way: dict[str, object], ours: pd.DataFrame, n: int) -> ProxyScores:
    seeds, line = np.unique(ours["seed"].to_numpy(dtype=np.int64), return_inverse=True)
    counts = np.full((len(seeds), n), -1)
    counts[line, ours["place"].to_numpy()] = np.arange(len(ours))  # the last of several stays
    asked = counts >= 0
    values = np.full((len(seeds), n), np.nan)
    values[asked] = ours["score"].to_numpy(dtype=np.float64)[counts[asked]]
    text = {name: "" if pd.isna(value) else str(value) for name, value in way.items()}  # type: ignore[call-overload]
    return ProxyScores(
        proxy=text["proxy"],
        space=text["space"],
        dataset=text["dataset"],
        teacher=text["teacher"],
        repeats=int(float(text["repeats"] or 1)),
        images=int(float(text["images"] or 0)),
        seeds=tuple(int(seed) for seed in seeds),
        values=values,
        asked=asked,
        seconds=float(ours["seconds"].iloc[counts[asked]].mean()),
        among=int(float(text["among"] or 0)),
    )


def sizes(scores: pd.DataFrame, labels: Sequence[str]) -> tuple[Reals, Reals]:
    """Parameters and multiply-adds of the architectures as they were scored; NaN where none is on record."""
    first = scores.groupby("student", observed=True)[["params", "macs"]].first().reindex(list(labels))
    return first["params"].to_numpy(dtype=np.float64), first["macs"].to_numpy(dtype=np.float64)
