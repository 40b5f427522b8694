"""A proxy found by search, for people: tables as sheets, and sentences on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from automl_kd.nasbench.proxy_benchmark.benchmark import ROUNDS
from automl_kd.nasbench.proxy_benchmark.published import decimals, figures
from automl_kd.nasbench.proxy_benchmark.rank_correlation import EXACT
from automl_kd.nasbench.proxy_benchmark.sheets import records
from automl_kd.nasbench.proxy_search.findings import FOUND_FORMULA, Findings
from automl_kd.results import units
from automl_kd.results.sheet import Column, Sheet

GOAL = 0.76
"""Kendall on every dataset that the search is to reach."""

AGGREGATE = "VKDNW, aggregate"
"""The best label-free aggregate published, by its title among the published figures."""

RANKING_NOTE = (
    "Correlation with test accuracy over all architectures scored, with 95 % intervals. Published figures stand in a "
    "column of their own, in the order of the datasets; they are not ours and may be of another protocol. Seconds are "
    "the sum over the statistics of a formula, as recorded for one architecture, with the whole of each pass that a "
    "statistic reads; where several read the same pass, together they take less. One without a record counts as none."
)
GENERALITY_NOTE = "The found formula on the labels that chose it, and on accuracies that chose nothing."
MEMBERS_NOTE = "Kendall of each statistic alone, with test accuracy on the dataset that has the labels."
SEARCHES_NOTE = (
    "Of each search the formula that was best on the labels, over search seeds: mean ± standard deviation on the "
    "labels, mean [lowest, highest] on test accuracies of all."
)
NUMBERS_NOTE = (
    "The first of the searches with other numbers of labels, each seed with its own draw of architectures: mean "
    "± standard deviation on its labels, mean [lowest, highest] on test accuracies of all."
)


def write_sentences(found: Findings) -> list[str]:
    """What was found, how far it is from the goal, and what it cost."""
    rows = of_benchmark(found)
    ours = rows[rows["title"] == FOUND_FORMULA]
    least = float(ours["kendall"].min())
    reached = "reaches" if least >= GOAL else "does not reach"
    single = rows[rows["title"].str.startswith("best single statistic")]
    untuned = ours.loc[~ours["tuned"], "kendall"]
    followed, tuned = found.generality["kendall"].iloc[0], float(ours.loc[ours["tuned"], "kendall"].iloc[0])
    seconds, number = float(ours["seconds"].iloc[0]), int(ours["architectures"].min())
    lines = [
        f"Found: {found.formula}.",
        f"Kendall {by_target(ours)} over {number:,} architectures, chosen on {found.labels:,} labels of "
        f"{found.dataset}; it {reached} {GOAL:.2f} on all three. The best single statistic, chosen on the same labels, "
        f"has {by_target(single)}.",
        f"Generalisation: Kendall is {followed:.3f} on the labels, {tuned - followed:+.3f} from there to the tuned "
        f"dataset's test accuracies, and {untuned.mean() - tuned:+.3f} from these to the mean of the other datasets.",
        f"A score costs at most {seconds:.2g} s per architecture, shared passes counted for each statistic.",
        f"The labels took {found.label_seconds / 3600:,.0f} hours of training by the benchmark's clock; they are "
        f"{found.statement}.",
    ]
    lines += [
        f"It could not be computed on {title}, where there are no scores of {', '.join(names)}."
        for title, names in found.absent.items()
    ]
    return lines


def of_benchmark(found: Findings) -> pd.DataFrame:
    return next(iter(found.tables.values()))


def by_target(rows: pd.DataFrame) -> str:
    return ", ".join(f"{short_target(row['target'])} {decimals(row['kendall'])}" for row in records(rows))


def short_target(target: str) -> str:
    """Without the benchmark, which a table names once."""
    return target.rpartition("NAS-Bench-201, ")[2]


def ranking(rows: pd.DataFrame, measure: str) -> Sheet:
    """One line for each ranking, a column for each target, and the published figures apart."""
    targets = list(dict.fromkeys(rows["target"]))
    tuned = set(rows.loc[rows["tuned"], "target"])
    heads = [f"{short_target(one)}{' (tuned on)' if one in tuned else ''}" for one in targets]
    texts = ("ranking", "formula") if measure == "kendall" else ("ranking",)
    columns = (*map(Column, texts), *(Column(one, numeric=True) for one in heads))
    lines = []
    for title, ours in rows.groupby("title", sort=False, observed=True):
        cells = {row["target"]: row for row in records(ours)}
        own = [write_interval(cells[one], measure) if one in cells else units.MISSING for one in targets]
        known = list(ours[f"published_{measure}"])
        head = (str(title), str(ours["formula"].iloc[0]))[: len(texts)]
        lines.append((*head, *own, list_values(known), f"{ours['seconds'].iloc[0]:.2g}"))
    if "NAS-Bench" in targets[0]:
        lines.append((*(f"{AGGREGATE}, no labels", "")[: len(texts)], *published_cells(measure, len(targets))))
    return Sheet((*columns, Column("published by others", numeric=True), Column("seconds", numeric=True)), tuple(lines))


def published_cells(measure: str, targets: int) -> tuple[str, ...]:
    """Of the aggregate to beat, which has no figures of ours."""
    one = next(one for one in figures() if one.title == AGGREGATE)
    values = one.kendall if measure == "kendall" else one.spearman
    return (*[units.MISSING] * targets, list_values(list(values.values())), units.MISSING)


def list_values(values: Sequence[float]) -> str:
    return units.MISSING if all(map(units.missing, values)) else " / ".join(map(decimals, values))


def write_interval(row: dict[str, Any], measure: str) -> str:
    return f"{decimals(row[measure])} [{decimals(row[f'{measure}_low'])}, {decimals(row[f'{measure}_high'])}]"


def generality_sheet(found: Findings) -> Sheet:
    words = ("architectures", "Kendall", "Spearman")
    columns = (Column("accuracy"), Column("which architectures"), *(Column(name, numeric=True) for name in words))
    lines = tuple(
        (
            row["accuracy"],
            row["which"],
            f"{row['architectures']:,}",
            decimals(row["kendall"]),
            decimals(row["spearman"]),
        )
        for row in records(found.generality)
    )
    return Sheet(columns, lines)


def members_sheet(found: Findings) -> Sheet:
    words = ("Kendall alone", "seconds", "failed")
    columns = (Column("statistic"), Column("scored on"), *(Column(name, numeric=True) for name in words))
    lines = tuple(
        (
            row["statistic"],
            row["dataset"],
            decimals(row["kendall"]),
            units.MISSING if units.missing(row["seconds"]) else f"{row['seconds']:.2g}",
            str(row["failed"]),
        )
        for row in records(found.members)
    )
    return Sheet(columns, lines)


def searches(found: Findings) -> Sheet:
    """Each sampler over its search seeds."""
    targets = targets_of(found)
    lines = tuple(
        (
            str(name),
            str(len(rows)),
            f"{rows['formulas'].max():,}",
            write_spread(rows["kendall"]),
            *(extent(rows[target]) for target in targets),
            units.duration(float(rows["search_seconds"].mean())),
        )
        for name, rows in found.searches.groupby("search", sort=False, observed=True)
    )
    names = ("search seeds", "formulas each", "on the labels", *map(short_target, targets), "time of a search")
    return Sheet((Column("search"), *(Column(name, numeric=True) for name in names)), lines)


def label_count_sheet(found: Findings) -> Sheet:
    """Each number of labels over its seeds."""
    targets = targets_of(found)
    lines = tuple(
        (
            f"{labels:,}",
            units.duration(3600 * found.label_hours[int(str(labels))]),
            str(len(rows)),
            write_spread(rows["kendall"]),
            *(extent(rows[target]) for target in targets),
        )
        for labels, rows in found.numbers.groupby("labels", sort=True, observed=True)
    )
    names = ("labels", "their training", "seeds", "on the labels", *map(short_target, targets))
    return Sheet(tuple(Column(name, numeric=True) for name in names), lines)


def formulas(found: Findings) -> Sheet:
    """Every search's formula, the best on the labels first."""
    targets = targets_of(found)
    lines = tuple(
        (
            row["search"],
            str(row["seed"]),
            row["formula"],
            *(decimals(row[name]) for name in ("kendall", *targets)),
        )
        for row in records(found.searches.sort_values("objective", ascending=False, kind="stable"))
    )
    names = ("on the labels", *map(short_target, targets))
    texts = (Column("search"), Column("seed", numeric=True), Column("formula"))
    return Sheet((*texts, *(Column(name, numeric=True) for name in names)), lines)


def targets_of(found: Findings) -> list[str]:
    return list(dict.fromkeys(found.judged["target"]))


def write_spread(values: pd.Series[float]) -> str:
    """As "0.780 ± 0.004", without ± for one."""
    return decimals(values.mean()) if len(values) < 2 else f"{decimals(values.mean())} ± {values.std():.3f}"


def extent(values: pd.Series[float]) -> str:
    """As "0.750 [0.740, 0.760]"."""
    known = values.dropna().to_numpy(dtype=np.float64)
    if not len(known):
        return units.MISSING
    return f"{decimals(known.mean())} [{decimals(known.min())}, {decimals(known.max())}]"


def notes(found: Findings) -> list[str]:
    """What one must know to read the tables."""
    return [
        "A formula is written as a sum of terms. rank_sum adds ranks, log_rank_sum the logarithms of ranks over their "
        "number; ranks run from the worst, 1, to the best of all architectures scored, and need no label. A negative "
        "weight, or a minus inside a bound, ranks downwards. min(a;b) and max(a;b) take the lower and the higher of "
        "two ranks; with a number in place of b, ranks above or below that share of all are equal.",
        f"Searches saw the accuracies of {found.labels:,} architectures: {found.statement}. Nothing else was used to "
        "choose; all other accuracies are reported on.",
        f"Intervals are percentiles of {ROUNDS} bootstrap draws of architectures; up to {EXACT} of these each draw is "
        "exact, beyond that to first order. They cover neither the chance in weights nor that in the labels drawn.",
        "An architecture on which a statistic failed ranks last under it; the tables count these.",
        "The training time of labels is that of one official seed by the benchmark's clock, evaluation not included.",
    ]
