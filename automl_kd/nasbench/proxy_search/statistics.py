"""Statistics of untrained networks as ranks within a space: what a formula of them is made from, without any label."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from automl_kd.errors import ResultError
from automl_kd.nasbench.proxy_benchmark.benchmark import Target, for_target
from automl_kd.nasbench.proxy_benchmark.scores import ProxyScores
from automl_kd.nasbench.table.columns import Integers, Reals


@dataclass(frozen=True, eq=False)
class Statistics:
    """Of m architectures, those that every statistic was asked about and whose accuracy is known.

    `rows`: their places in the target. `shares`: by name, ranks over m, in (0, 1], averaged over ties. `seconds`: of
    one architecture, NaN if not on record. `failed`: on how many scoring failed; these rank last. `datasets`: whose
    images each was made on.
    """

    rows: Integers
    shares: Mapping[str, Reals]
    seconds: Mapping[str, float]
    failed: Mapping[str, int]
    datasets: Mapping[str, str]

    @property
    def size(self) -> int:
        return len(self.rows)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.shares)

    @property
    def digest(self) -> str:
        """Of all that a formula's values depend on."""
        parts = [self.rows.tobytes(), *(name.encode() + share.tobytes() for name, share in self.shares.items())]
        return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def statistics_of(chosen: Mapping[str, ProxyScores], target: Target) -> Statistics:
    """Of the entries by name, ranks among the architectures that all of them and the target know."""
    asked = np.logical_and.reduce([one.rows for one in chosen.values()]) & ~np.isnan(target.accuracy)
    rows = np.flatnonzero(asked)
    return Statistics(
        rows=rows,
        shares={name: shares_of(one, rows) for name, one in chosen.items()},
        seconds={name: one.seconds for name, one in chosen.items()},
        failed={name: int((~np.isfinite(one.values[one.leading][0, rows])).sum()) for name, one in chosen.items()},
        datasets={name: one.dataset for name, one in chosen.items()},
    )


def chosen_entries(entries: Sequence[ProxyScores], target: Target, dataset: str) -> dict[str, ProxyScores]:
    """One for each proxy, by name: made on the target's images, else on those of `dataset`, else on any.

    `ResultError` for a proxy that was scored in two ways.
    """
    chosen: dict[str, ProxyScores] = {}
    for one in sorted(for_target(entries, target), key=lambda entry: (entry.proxy, entry.dataset != dataset)):
        before = chosen.setdefault(one.proxy, one)
        if before is not one and before.dataset in (one.dataset, target.dataset):
            raise ResultError(
                f"{one.proxy} was scored in two ways on {one.dataset} (images, repeats or teachers differ), one was "
                "wanted; name the file with the scores to compose"
            )
    return chosen


def shares_of(one: ProxyScores, rows: Integers) -> Reals:
    """Ranks over m; of several weight seeds, the rank of the mean rank."""
    ranks = [rankdata(values) for values in one.ranking[one.leading][:, rows]]
    share: Reals = rankdata(np.mean(ranks, axis=0)) / max(len(rows), 1)
    return share
