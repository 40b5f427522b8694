"""Scores of untrained architectures on disk, and their ranking."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from automl_kd.hashing import hash_json
from automl_kd.results.store import parquet
from automl_kd.results.store.row import SCORE_SCHEMA, ScoreRow
from automl_kd.results.store.soundness import faults, require_sound

if TYPE_CHECKING:
    import pandas as pd

SCORE_IDENTITY = ["space", "dataset", "architecture_id", "proxy", "teacher", "seed", "repeats", "images", "among"]
ENTRY = ["space", "dataset", "architecture_id"]


def write_scores(folder: Path, scores: Iterable[ScoreRow]) -> Path:
    """Write a batch to one new file under `folder/scores`; the same batch again is the same file."""
    records = [asdict(score) for score in scores]
    path = folder / "scores" / f"{hash_json(records)}.parquet"
    parquet.write_parquet(parquet.to_table(records, SCORE_SCHEMA), path)
    return path


def write_columns(path: Path, columns: Mapping[str, object]) -> None:
    """Write many scores at once to `path`: for each column of `ScoreRow` a sequence, or one value for all rows."""
    lengths = {len(values) for values in columns.values() if isinstance(values, np.ndarray)}
    (rows,) = lengths
    arrays = []
    for field in SCORE_SCHEMA:
        given = columns[field.name]
        array = pa.array(given, from_pandas=True) if isinstance(given, np.ndarray) else pa.repeat(given, rows)
        arrays.append(array.cast(field.type))
    table = pa.Table.from_arrays(arrays, schema=SCORE_SCHEMA)
    parquet.write_parquet(table, path)


def read_scores_file(path: Path) -> pd.DataFrame:
    """One file of scores; `ResultError` if it cannot be read or is none."""
    return parquet.to_frame(load_scores(path))


def load_scores(path: Path) -> pa.Table:
    return require_sound(parquet.load_parquet(path, SCORE_SCHEMA, ("architecture_id", "proxy")), "scores", path)


def load_all_scores(folder: Path, columns: Sequence[str]) -> pa.Table:
    """These columns of all scores under `folder/scores`, as they lie there: some may be there twice. No pandas."""
    schema, paths = pa.schema([SCORE_SCHEMA.field(name) for name in columns]), parquet.files(folder / "scores")
    tables = [parquet.load_parquet(path, schema, ("architecture_id", "proxy")) for path in paths]
    whole = pa.concat_tables(tables) if tables else schema.empty_table()
    if any(True for _ in faults(whole, "scores")):  # which is quicker than to look at each file
        for table, path in zip(tables, paths, strict=True):
            require_sound(table, "scores", path)
    return whole


def read_scores(folder: Path) -> pd.DataFrame:
    """All scores under `folder/scores`, none twice, a score before an error. Empty if there are none."""
    tables = [load_scores(path) for path in parquet.files(folder / "scores")]
    frame = parquet.to_frame(pa.concat_tables(tables) if tables else SCORE_SCHEMA.empty_table())
    ordered = frame.sort_values([*SCORE_IDENTITY, "score", "seconds"], na_position="last", kind="stable")
    return ordered.drop_duplicates(SCORE_IDENTITY).reset_index(drop=True)


def rank_architectures(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per architecture, best first, in each space and dataset.

    Columns: rank (1 is best; equal sums share it), space, dataset, architecture, label, params, macs; for each proxy
    its score and `<proxy>_spread`; rank_sum, over proxies; seconds, of all proxies. Scores of one proxy with several
    seeds or teachers are averaged. What a proxy failed on ranks last for it.
    """
    import pandas as pd  # noqa: PLC0415 - slow to import, and some readers do without

    keys = [scores[name] for name in ENTRY]
    entries = scores.groupby(keys, observed=True)
    frame = entries[["student", "params", "macs"]].first()
    proxies = sorted(scores["proxy"].dropna().unique())
    rank_sum = pd.Series(0.0, index=frame.index)
    for proxy in proxies:
        ours = scores[scores["proxy"] == proxy].groupby(ENTRY, observed=True)
        frame[proxy] = ours["score"].mean().reindex(frame.index)
        frame[f"{proxy}_spread"] = ours["spread"].mean().reindex(frame.index)
        rank_sum += frame.groupby(ENTRY[:2], observed=True)[proxy].rank(ascending=False, na_option="bottom")
    frame["rank_sum"] = rank_sum
    frame["seconds"] = entries["seconds"].sum()
    rank = frame.groupby(ENTRY[:2], observed=True)["rank_sum"].rank(method="min").astype("Int64")
    frame.insert(0, "rank", rank)
    return frame.reset_index().sort_values([*ENTRY[:2], "rank", "architecture_id"], ignore_index=True)
