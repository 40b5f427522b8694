"""Evaluates a proxy search: the formula chosen on the labels is compared with accuracies that chose nothing."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping

import numpy as np
import pandas as pd

from automl_kd.experiment.records import device_name, git_commit, versions
from automl_kd.nasbench.proxy_benchmark.benchmark import BASELINE, Target, resample_architectures, resampled_estimate
from automl_kd.nasbench.proxy_benchmark.published import published
from automl_kd.nasbench.proxy_benchmark.rank_correlation import (
    kendall,
    resampled_kendall,
    resampled_spearman,
    spearman,
)
from automl_kd.nasbench.proxy_search.findings import FOUND_FORMULA, Findings
from automl_kd.nasbench.proxy_search.preparation import FormulaContext
from automl_kd.nasbench.proxy_search.statistics import Statistics
from automl_kd.nasbench.table.columns import Reals
from automl_kd.proxies import AGGREGATES
from automl_kd.proxies.aggregate import Aggregate, parse_aggregate

LITERATURE = Aggregate("log_rank_sum", ("naswot", "logsynflow", "live_conv_count", "macs"))
"""Statistics that rank well each on their own, summed as AZ-NAS (arXiv:2403.19232) sums its own, without any label."""


def findings(context: FormulaContext, tried: pd.DataFrame) -> Findings:
    """`tried`: all formulas of all searches, as recorded."""
    asked = context.experiment.proxy
    ours = tried[(tried["labels"] == asked.labels) & (tried["sample"] == context.experiment.seed)]
    best = best_formulas(ours, ["search", "seed"])
    effort = ours.groupby(["search", "seed"], observed=True)["seconds"].agg(search_seconds="max", formulas="size")
    found = read_formula(str(best.iloc[int(best["objective"].argmax())]["formula"]))
    numbers = best_formulas(tried[tried["search"] == asked.searches[0].title], ["labels", "seed", "sample"])
    numbers = numbers[numbers["sample"] == numbers["seed"]]
    labelled = context.statistics[context.tuned.title].rows[context.labelled(asked.labels, context.experiment.seed)]
    rankings = rankings_of(context, found)
    judged = [
        judge_formula(context, title, one, target) for target in context.targets for title, one in rankings.items()
    ]
    return Findings(
        name=context.experiment.name,
        formula=str(found),
        statement=context.choosing.accuracy.statement,
        dataset=context.tuned.dataset,
        labels=asked.labels,
        label_seconds=float(context.table.seconds_of(context.choosing)[labelled].sum()),
        judged=pd.DataFrame([row for row in judged if row]),
        generality=pd.DataFrame(measure_generality(context, found)),
        searches=reported(context, best.merge(effort, on=["search", "seed"])),
        numbers=reported(context, numbers) if asked.compare_labels else numbers.iloc[:0],
        label_hours={
            count: float(context.table.seconds_of(context.choosing).mean()) * count / 3600
            for count in set(numbers["labels"])
        },
        members=pd.DataFrame(formula_members(context, found)),
        absent=absent(context, found),
        provenance=search_provenance(context),
    )


def read_formula(text: str) -> Aggregate:
    found = parse_aggregate(text)
    assert found is not None, text
    return found


def best_formulas(tried: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The formula that each search returns; of equal ones the shorter, then the earlier."""
    order = tried.sort_values(["objective", "members", "index"], ascending=[False, True, True], kind="stable")
    return order.dropna(subset=["objective"]).groupby(keys, sort=True, observed=True).head(1).sort_values(keys)


def rankings_of(context: FormulaContext, found: Aggregate) -> dict[str, Aggregate]:
    """What stands in the tables, by its title; the single statistic is chosen on the labels, like the formula."""
    singles = {name: Aggregate("rank_sum", (name,)) for name in context.names}
    judged = {name: on_labels(context, one) for name, one in singles.items()}
    single = max(judged, key=lambda name: (np.nan_to_num(judged[name], nan=-2.0), name))
    named = {"sum from the literature": LITERATURE, **AGGREGATES}
    known = {title: one for title, one in named.items() if set(one.members) <= set(context.names)}
    return {
        FOUND_FORMULA: found,
        **known,
        f"best single statistic: {single}": singles[single],
        **({"counting parameters": singles[BASELINE]} if BASELINE in singles and single != BASELINE else {}),
    }


def on_labels(context: FormulaContext, one: Aggregate) -> float:
    statistics = context.statistics[context.tuned.title]
    labelled = context.labelled(context.experiment.proxy.labels, context.experiment.seed)
    return kendall(values(one, statistics)[labelled], context.choosing.values[statistics.rows[labelled]])


def values(one: Aggregate, statistics: Statistics) -> Reals:
    return one.sum(statistics.shares, statistics.size)


def judge_formula(context: FormulaContext, title: str, one: Aggregate, target: Target) -> dict[str, object]:
    """One ranking against one target; nothing if a statistic of it was not scored there."""
    statistics = context.statistics[target.title]
    if not set(one.members) <= set(statistics.names):
        return {}
    x, y = values(one, statistics), target.accuracy[statistics.rows]
    counts = resample_architectures(len(y))
    alone = one.members[0] if len(one.members) == 1 else title
    tau, rho = published(alone, target.dataset) if "NAS-Bench" in target.title else (np.nan, np.nan)
    return {
        "title": title,
        "formula": str(one),
        "target": target.title,
        "accuracy": target.column,
        "tuned": target is context.tuned,
        "architectures": len(y),
        **resampled_estimate("kendall", resampled_kendall(x, y, counts)),
        **resampled_estimate("spearman", resampled_spearman(x, y, counts)),
        "published_kendall": tau,
        "published_spearman": rho,
        "seconds": sum(np.nan_to_num(statistics.seconds[name]) for name in one.members),
        "failed": max(statistics.failed[name] for name in one.members),
    }


def measure_generality(context: FormulaContext, found: Aggregate) -> list[dict[str, object]]:
    """The found formula on the labels that chose it, and on all else, with and without those architectures."""
    asked, statistics = context.experiment.proxy, context.statistics[context.tuned.title]
    bought = np.isin(np.arange(statistics.size), context.labelled(asked.labels, context.experiment.seed))
    x, chosen = values(found, statistics), context.choosing.values[statistics.rows]
    rows = [
        correlation_record(f"the labels: {context.choosing.name}", "the labelled ones", x[bought], chosen[bought]),
        correlation_record(context.choosing.name, "all others", x[~bought], chosen[~bought]),
    ]
    numbers = statistics.rows[bought]
    for target in context.targets:
        there = context.statistics[target.title]
        if len(target.labels) != len(context.table) or not set(found.members) <= set(there.names):
            continue
        x, y = values(found, there), target.accuracy[there.rows]
        new = ~np.isin(there.rows, numbers)
        rows += [
            correlation_record(target.column, "all", x, y),
            correlation_record(target.column, "without the labelled ones", x[new], y[new]),
        ]
    return rows


def correlation_record(accuracy: str, which: str, x: Reals, y: Reals) -> dict[str, object]:
    known = len(y) >= 2
    return {
        "accuracy": accuracy,
        "which": which,
        "architectures": len(y),
        "kendall": kendall(x, y) if known else np.nan,
        "spearman": spearman(x, y) if known else np.nan,
    }


def reported(context: FormulaContext, best: pd.DataFrame) -> pd.DataFrame:
    """Each search's formula on every target it can be computed on: Kendall in a column named by the target."""
    return best.assign(
        **{
            target.title: [
                kendall(values(one, statistics), target.accuracy[statistics.rows])
                if set(one.members) <= set(statistics.names)
                else np.nan
                for one in map(read_formula, best["formula"])
            ]
            for target, statistics in ((target, context.statistics[target.title]) for target in context.targets)
        }
    )


def formula_members(context: FormulaContext, found: Aggregate) -> list[dict[str, object]]:
    """What the formula is made of, where each statistic was measured."""
    statistics = context.statistics[context.tuned.title]
    return [
        {
            "statistic": name,
            "dataset": statistics.datasets[name],
            "seconds": statistics.seconds[name],
            "failed": statistics.failed[name],
            "kendall": kendall(statistics.shares[name], context.tuned.accuracy[statistics.rows]),
        }
        for name in found.members
    ]


def absent(context: FormulaContext, found: Aggregate) -> Mapping[str, tuple[str, ...]]:
    """For targets on which the formula cannot be computed, what was not scored there."""
    missing = {one.title: set(found.members) - set(context.statistics[one.title].names) for one in context.targets}
    return {title: tuple(sorted(names)) for title, names in missing.items() if names}


def search_provenance(context: FormulaContext) -> dict[str, str]:
    path, tuned = context.table.path, context.statistics[context.tuned.title]
    return {
        "finished (UTC)": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "table": f"{path.name}, SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}",
        "scores": f"{len(context.names)} statistics of {tuned.size:,} architectures, digest {tuned.digest}",
        "device": device_name("cpu"),
        "commit": git_commit() or "unknown",
        "versions": ", ".join(f"{name} {version}" for name, version in json.loads(versions()).items()),
    }
