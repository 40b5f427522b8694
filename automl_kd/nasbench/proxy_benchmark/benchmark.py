"""The proxy benchmark: how well each proxy ranks architectures whose trained accuracy is known.

Beside the correlation it reports the interval, whether the proxy beats the parameter count on the same architectures,
the correlation given size, the regret within a budget, the cost and the failures. Accuracies are reported and tune
nothing. Published figures stand in separate columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from automl_kd.nasbench.proxy_benchmark.budget import matched, regrets
from automl_kd.nasbench.proxy_benchmark.published import published
from automl_kd.nasbench.proxy_benchmark.rank_correlation import (
    Counts,
    draws,
    kendall,
    partial_spearman,
    resampled_kendall,
    resampled_spearman,
    spearman,
)
from automl_kd.nasbench.proxy_benchmark.scores import WAY, ArchitectureMask, ProxyScores, Reals

ROUNDS, SEED = 1000, 0
SIZE_PROXIES = ("params", "macs")
BASELINE = "params"
MIN_ARCHITECTURES = 10
"""Fewer architectures than this are not judged, nor compared over seeds."""

THE_BASELINE = "the baseline"
BEATS = "beats counting parameters"
NOT_SHOWN = "not shown to beat counting parameters"
WORSE = "worse than counting parameters"
NO_VALUE = "has no value here"


@dataclass(frozen=True, eq=False)
class Target:
    """Accuracies of n architectures that proxies predict.

    `column`: where they come from. `accuracy`: fractions, NaN where unknown. `costs`: (n,) each; "params" and "macs"
    must be there, in that order, and may be followed by latencies.
    """

    title: str
    dataset: str
    column: str
    labels: Sequence[str]
    accuracy: Reals
    costs: Mapping[str, Reals]


class ProxyBenchmark(NamedTuple):
    """`proxies`: one row for each target and way of asking a proxy. `regrets`: one for each of those and budget.

    `notes`: sentences about what was left out.
    """

    proxies: pd.DataFrame
    regrets: pd.DataFrame
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Case:
    """One entry held against one target on the n architectures that both know.

    `scores`: (seeds, n), of the seeds that were asked about all of them. `every_seed`: (all seeds, m), on the m of
    them that every seed was asked about, and `their_accuracy` (m,).
    """

    scores: Reals
    accuracy: Reals
    costs: Mapping[str, Reals]
    every_seed: Reals
    their_accuracy: Reals


def judge_entries(entries: Sequence[ProxyScores], targets: Sequence[Target]) -> ProxyBenchmark:
    """Every entry against every target, for each target best Kendall first. All are along the same architectures.

    Where a proxy was shown images of a target's dataset, only those scores are held against it; else all are, and the
    column `dataset` names what they were made on. Entries with fewer than `MIN_ARCHITECTURES` architectures are left
    out.
    """
    proxies, lost = [], []
    for target in targets:
        rows = []
        for one in for_target(entries, target):
            key = {"target": target.title, **{name: getattr(one, name) for name in WAY}}
            case = make_case(one, target)
            found = judge_case(case)
            rows.append({**key, **about(one, target), **found, "verdict": verdict_of_row(found, one.proxy)})
            lost += [{**key, **budget._asdict()} for budget in regrets(case.scores, case.accuracy, case.costs)]
        proxies += sorted(rows, key=lambda row: -np.nan_to_num(row["kendall"], nan=-2.0))
    return ProxyBenchmark(pd.DataFrame(proxies), pd.DataFrame(lost))


def for_target(entries: Sequence[ProxyScores], target: Target) -> list[ProxyScores]:
    """Those to be held against a target, with the counts of parameters and multiply-adds if they are not among them."""
    sizes = [size_entry(name, target) for name in SIZE_PROXIES]
    known = [one for one in entries if common_rows(one, target).sum() >= MIN_ARCHITECTURES]
    own = {apart_from_images(one) for one in known if one.dataset == target.dataset}
    chosen = [one for one in known if one.dataset == target.dataset or apart_from_images(one) not in own]
    scored = {one.proxy for one in chosen}
    counted = [one for one in sizes if one.proxy not in scored and common_rows(one, target).sum() >= MIN_ARCHITECTURES]
    return [*counted, *chosen]


def apart_from_images(one: ProxyScores) -> tuple[object, ...]:
    return one.space, one.proxy, one.teacher, one.repeats, one.images


def size_entry(name: str, target: Target) -> ProxyScores:
    """A size that the target knows, as if a proxy had counted it."""
    values = target.costs[name][None]
    known = ~np.isnan(values)
    return ProxyScores(name, "", target.dataset, "", 1, 0, (0,), values, known, float("nan"))


def common_rows(one: ProxyScores, target: Target) -> ArchitectureMask:
    rows: ArchitectureMask = one.rows & known_rows(target)
    return rows


def known_rows(target: Target) -> ArchitectureMask:
    """The architectures whose accuracy and sizes are known, (n,)."""
    needed = [target.accuracy, *(target.costs[name] for name in SIZE_PROXIES)]
    known: ArchitectureMask = np.logical_and.reduce([~np.isnan(one) for one in needed])
    return known


def make_case(one: ProxyScores, target: Target) -> Case:
    rows = common_rows(one, target)
    shared = rows & one.common
    return Case(
        scores=one.ranking[one.leading][:, rows],
        accuracy=target.accuracy[rows],
        costs={name: cost[rows] for name, cost in target.costs.items()},
        every_seed=one.ranking[:, shared],
        their_accuracy=target.accuracy[shared],
    )


def judge_case(case: Case) -> dict[str, float]:
    """What is measured of a proxy; the names of the benchmark's columns."""
    counts, y, size = resample_architectures(len(case.accuracy)), case.accuracy, case.costs[BASELINE]
    tau = np.mean([resampled_kendall(x, y, counts) for x in case.scores], axis=0)
    rho = np.mean([resampled_spearman(x, y, counts) for x in case.scores], axis=0)
    gain = tau - resampled_kendall(size, y, counts)
    given = np.column_stack([case.costs[name] for name in SIZE_PROXIES])
    inside, bins = matched(case.scores, y, size)
    return {
        **resampled_estimate("kendall", tau),
        "kendall_seed_std": over_seeds(kendall, case),
        **resampled_estimate("spearman", rho),
        "spearman_seed_std": over_seeds(spearman, case),
        "seed_architectures": len(case.their_accuracy) if len(case.every_seed) > 1 else 0,
        "partial_spearman": float(np.mean([partial_spearman(x, y, given) for x in case.scores])),
        "matched_kendall": inside,
        "matched_bins": bins,
        **resampled_estimate("over_params", gain),
    }


@lru_cache(maxsize=1)
def resample_architectures(n: int) -> Counts:
    """All n architectures once, then bootstrap draws: the same for all proxies, so that differences are paired."""
    return np.concatenate([np.ones((1, n), dtype=np.float32), draws(n, ROUNDS, SEED)])


def resampled_estimate(name: str, resampled: Reals) -> dict[str, float]:
    """The value on all architectures, and the middle 95 % of the draws; NaN if one of them has no value."""
    low, high = np.quantile(resampled[1:], [0.025, 0.975])
    return {name: float(resampled[0]), f"{name}_low": float(low), f"{name}_high": float(high)}


def over_seeds(measure: Callable[[Reals, Reals], float], case: Case) -> float:
    """Standard deviation of a correlation over weight seeds; NaN for one seed, or under `MIN_ARCHITECTURES` rows."""
    if len(case.every_seed) < 2 or len(case.their_accuracy) < MIN_ARCHITECTURES:
        return float("nan")
    return float(np.std([measure(x, case.their_accuracy) for x in case.every_seed], ddof=1))


def about(one: ProxyScores, target: Target) -> dict[str, object]:
    """What is known of an entry without measuring; published figures are of NAS-Bench-201 after 200 epochs."""
    known = target.column == f"{target.dataset}_test_acc_200"
    tau, rho = published(one.proxy, target.dataset) if known else (float("nan"), float("nan"))
    return {
        "accuracy": target.column,
        "seeds": len(one.seeds),
        "architectures": int(common_rows(one, target).sum()),
        "failed": one.failed,
        "seconds": one.seconds,
        "published_kendall": tau,
        "published_spearman": rho,
    }


def verdict_of_row(row: Mapping[str, float], proxy: str) -> str:
    """Whether a row shows that a proxy beats the parameter count, in words."""
    if proxy == BASELINE:
        return THE_BASELINE
    if np.isnan(row["kendall"]):
        return NO_VALUE
    if row["over_params_low"] > 0:
        return BEATS
    return WORSE if row["over_params_high"] < 0 else NOT_SHOWN
