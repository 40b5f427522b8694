"""The scores of an archive as columns, one line for each architecture, and its rank by all its proxies."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from automl_kd.results.archive.limits import BYTES_PER_PARAM, Limits
from automl_kd.results.archive.students import ScoredStudent, StudentCosts
from automl_kd.results.store.columns import GroupCodes, RealColumn, encode_column, number_groups, to_mask, to_reals
from automl_kd.results.store.scores import load_all_scores

ONE_STUDENT = ["space", "architecture_id"]
ONE_SCORE = ["space", "architecture_id", "proxy", "dataset", "teacher", "seed", "repeats", "images", "among"]
DESCRIBED = ["space", "architecture_id", "student", "params", "macs", "dataset", "teacher"]
SCORE_COLUMNS = (*dict.fromkeys([*DESCRIBED, *ONE_SCORE, "score"]),)

Latencies = Mapping[tuple[str, str], float]
"""Milliseconds by space and architecture, of those that were measured."""


@dataclass(frozen=True, eq=False)
class ScoredStudents:
    """The scored architectures of one folder. `students`: their columns. `rank`: as of `ScoredStudent`, in their order.

    `proxies`: those that count. `failed`: architectures that no proxy could score.
    """

    folder: Path
    students: Mapping[str, list[Any]]
    rank: RealColumn
    proxies: tuple[str, ...]
    failed: int

    def __len__(self) -> int:
        return len(self.rank)

    def costs(self, latencies: Latencies) -> dict[str, RealColumn]:
        """Of every student, nan for what is not known."""
        params, macs = (np.array(self.students[name], dtype=float) for name in ("params", "macs"))
        names = zip(self.students["space"], self.students["architecture_id"], strict=True)
        measured = [latencies.get(name, np.nan) for name in names] if latencies else np.full(len(self), np.nan)
        latency = np.array(measured, dtype=float)
        return {"params": params, "macs": macs, "latency_ms": latency, "size_mb": BYTES_PER_PARAM * params / 1e6}

    def count_unmeasured(self, latencies: Latencies) -> int:
        """How many have no latency."""
        return int(np.isnan(self.costs(latencies)["latency_ms"]).sum())

    def best_within(self, limits: Limits, latencies: Latencies) -> ScoredStudent | None:
        """The first by rank that keeps the limits; of equal ones the one with fewer parameters."""
        costs = self.costs(latencies)
        kept = np.ones(len(self), dtype=bool)
        for name, limit in limits.given.items():
            kept &= costs[name] <= limit  # which nan is not
        if not kept.any():
            return None
        order = np.lexsort((costs["params"], np.where(kept, self.rank, np.inf)))
        return self.student_at(int(order[0]), latencies)

    def student_at(self, line: int, latencies: Latencies) -> ScoredStudent:
        values = {name: column[line] for name, column in self.students.items()}
        params, macs = values.pop("params"), values.pop("macs")
        latency = latencies.get((values["space"], values["architecture_id"]))
        return ScoredStudent(
            folder=self.folder,
            rank=float(self.rank[line]),
            proxies=self.proxies,
            costs=StudentCosts(params=params, macs=macs, latency_ms=latency),
            **values,
        )


def read_scored(folder: Path, datasets: Sequence[str]) -> ScoredStudents:
    """The scores in a folder, of these data sets alone if there are any."""
    table = load_all_scores(folder, SCORE_COLUMNS)
    scores, kept = to_reals(table["score"]), np.ones(len(table), dtype=bool)
    if datasets:
        codes, names = encode_column(table["dataset"])
        kept = np.isin(codes, [place for place, name in enumerate(names) if name in datasets])
    every = number_groups(table, ONE_STUDENT)
    known = np.flatnonzero(kept & np.isfinite(scores))
    lines, owner = np.unique(every[known], return_index=True, return_inverse=True)[1:]
    table, first = table.filter(to_mask(kept & np.isfinite(scores))), lines
    spaces = encode_column(table["space"])[0][first]
    rank, proxies = rank_students(table, scores[known], owner, spaces)
    columns = [
        [values[code] for code in codes[first]] for codes, values in (encode_column(table[name]) for name in DESCRIBED)
    ]
    students = dict(zip(DESCRIBED, columns, strict=True))
    return ScoredStudents(folder, students, rank, proxies, len(np.unique(every[kept])) - len(first))


def rank_students(
    known: pa.Table, scores: RealColumn, owner: GroupCodes, spaces: GroupCodes
) -> tuple[RealColumn, tuple[str, ...]]:
    """Each student's mean rank by the proxies, as shares of its space, and the names of these proxies.

    `known`: the scores, each with the number of its student as `owner`; `spaces`: of every student. Several scores by
    one proxy, of other seeds or teachers, are averaged. One that failed by a proxy comes last for it. An aggregate of
    ranks counts only where all were ranked together.
    """
    single = np.unique(number_groups(known, ONE_SCORE), return_index=True)[1]
    codes, names = encode_column(known["proxy"])
    among = to_reals(known["among"])
    total, counted = np.zeros(len(spaces)), []
    for place, name in enumerate(names):
        ours = single[codes[single] == place]
        sums, counts = (np.bincount(owner[ours], weights, len(spaces)) for weights in (scores[ours], None))
        together = among[ours][~np.isnan(among[ours])]
        if len(together) and together.max() < np.count_nonzero(counts):
            continue
        means = np.divide(sums, counts, out=np.full(len(spaces), -np.inf), where=counts > 0)
        total += share_before(means, spaces)
        counted.append(str(name))
    return total / max(1, len(counted)), tuple(sorted(counted))


def share_before(scores: RealColumn, groups: GroupCodes) -> RealColumn:
    """The share of its group that has a greater score, equal ones counted half."""
    share = np.zeros(len(scores))
    for group in np.unique(groups):
        ours = groups == group
        place, count = np.unique(-scores[ours], return_inverse=True, return_counts=True)[1:]
        before = np.cumsum(count) - count
        share[ours] = (before[place] + (count[place] - 1) / 2) / ours.sum()
    return share


def find_values(folder: Path, space: str, architecture_id: str) -> dict[str, Any] | None:
    """The values of a scored architecture, by parameter of its space; None if it was not scored."""
    table = load_all_scores(folder, ("space", "architecture_id", "proxy", "values_json"))
    codes, names = encode_column(table["architecture_id"])
    for line in np.flatnonzero(codes == names.index(architecture_id)) if architecture_id in names else ():
        row = table.slice(int(line), 1).to_pylist()[0]
        if row["space"] == space:
            found: dict[str, Any] = json.loads(row["values_json"])
            return found
    return None
