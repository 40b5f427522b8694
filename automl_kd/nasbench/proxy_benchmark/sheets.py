"""The proxy benchmark for people: tables as sheets, sentences on them, and all of it as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from automl_kd.nasbench.proxy_benchmark.benchmark import (
    BASELINE,
    BEATS,
    MIN_ARCHITECTURES,
    NO_VALUE,
    NOT_SHOWN,
    ROUNDS,
    WORSE,
    ProxyBenchmark,
)
from automl_kd.nasbench.proxy_benchmark.published import decimals, published_sheet, source
from automl_kd.nasbench.proxy_benchmark.rank_correlation import EXACT
from automl_kd.nasbench.proxy_benchmark.scores import WAY
from automl_kd.results import units
from automl_kd.results.report.leaderboard import made_by
from automl_kd.results.sheet import Column, Sheet

PUBLISHED = "published by others: Kendall / Spearman"
COSTS = {"params": "parameters", "macs": "FLOPs"}

NOTES = (
    "Kendall is tau-b and Spearman the correlation of mid-ranks with the accuracy named at the head; with several "
    "weight seeds both are means over seeds, and ± is the standard deviation over seeds, on the architectures that "
    f"every seed scored, where these are {MIN_ARCHITECTURES} or more.",
    f"In brackets: 95 % intervals, percentiles of {ROUNDS} bootstrap draws of architectures, the same draws for all "
    f"proxies. Up to {EXACT} architectures each draw is computed exactly, beyond that to first order around the whole. "
    "An interval covers the chance in which architectures were compared, not that in weights.",
    "The finding rests on the difference in Kendall to the number of parameters, on the same architectures and paired "
    "draw by draw; it is not adjusted for how many proxies are compared. A proxy that scores all equally, or "
    "fails on all, has no value here.",
    "Given size: Spearman after regressing both ranks on those of parameters and FLOPs. At equal size: the median of "
    "Kendall inside bins of about equal parameters.",
    "Architectures on which a proxy failed rank last and are counted. Each proxy is judged on the architectures that "
    "it was asked about: two proxies asked about different ones compare by their differences to parameters only. "
    "Seconds are as recorded with the scores, per architecture and seed.",
    "An aggregate's scores depend on the architectures that it ranked; where it ranked within several sets, the scores "
    "within the largest are judged.",
    "Where a proxy was shown images of the dataset, those scores are held against it, else all others of that proxy.",
    "Published figures are in a column of their own; their source is at the end, and they may be of another protocol.",
    "All accuracies are test accuracies: they are reported on, and nothing here is chosen by them.",
)
PICKS_NOTE = (
    "Regret in points of accuracy: how far the first pick / the best of the first ten picks lies below the best "
    "architecture within the budget. A budget is a quantile of the cost over the architectures in question. Among "
    "equal scores the expected pick counts; with several seeds, their mean."
)


def add_titles(frame: pd.DataFrame) -> pd.DataFrame:
    """Add a column `title`: the proxy, and where a target has it several times, what distinguishes them."""
    names = [name for name in WAY if name != "proxy"]
    groups = frame.groupby(["target", "proxy"], sort=False, observed=True)
    several = groups[names].transform("nunique") > 1
    several = several.groupby(frame["proxy"], observed=True).transform(
        "any"
    )  # so that a proxy has one title for all targets
    pairs = zip(records(frame), records(several), strict=True)
    return frame.assign(title=[title(row, apart) for row, apart in pairs])


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def title(row: Mapping[str, object], apart: Mapping[str, bool]) -> str:
    forms = {"space": "{}", "dataset": "on {}", "teacher": "teacher {}", "repeats": "{} repeats", "images": "{} images"}
    words = [
        form.format(str(row[name]).rpartition(":")[2]) for name, form in forms.items() if apart[name] and row[name]
    ]
    return f"{row['proxy']} ({', '.join(words)})" if words else str(row["proxy"])


def benchmark_sheet(rows: pd.DataFrame) -> Sheet:
    """How well one target's proxies rank, best first, with the published figures in the last column."""
    words = ("Kendall", "Spearman", "over parameters", "finding", "given size", "at equal size", "failed")
    columns = [Column(name, numeric=name != "finding") for name in (*words, PUBLISHED)]
    lines = tuple(
        (
            row["title"],
            write_correlation(row, "kendall"),
            write_correlation(row, "spearman"),
            units.MISSING if row["proxy"] == BASELINE else f"{write_signed(row['over_params'])} {gain_interval(row)}",
            row["verdict"],
            decimals(row["partial_spearman"]),
            decimals(row["matched_kendall"]),
            str(row["failed"]),
            pair(row["published_kendall"], row["published_spearman"]),
        )
        for row in records(rows)
    )
    return Sheet((Column("proxy"), *columns), lines)


def scoring_effort_sheet(rows: pd.DataFrame) -> Sheet:
    """What the scores of one target took, and what they are of."""
    words = ("seconds", "architectures", "weight seeds", "compared over seeds", "images", "scored on", "space")
    lines = tuple(
        (
            row["title"],
            units.MISSING if units.missing(row["seconds"]) else f"{row['seconds']:.2g}",
            f"{row['architectures']:,}",
            str(row["seeds"]),
            f"{row['seed_architectures']:,}" if row["seed_architectures"] else units.MISSING,
            str(row["images"] or units.MISSING),
            row["dataset"],
            row["space"] or units.MISSING,
        )
        for row in records(rows)
    )
    return Sheet((Column("proxy"), *(Column(name, numeric=name not in words[-2:]) for name in words)), lines)


def pair(kendall: float, spearman: float) -> str:
    known = not (units.missing(kendall) and units.missing(spearman))
    return f"{decimals(kendall)} / {decimals(spearman)}" if known else units.MISSING


def write_correlation(row: Mapping[str, float], name: str) -> str:
    """As "0.630 ± 0.004 [0.624, 0.635]", without ± for one seed."""
    spread = row[f"{name}_seed_std"]
    within = f"[{decimals(row[f'{name}_low'])}, {decimals(row[f'{name}_high'])}]"
    return (
        f"{decimals(row[name])} {within}" if units.missing(spread) else f"{decimals(row[name])} ± {spread:.3f} {within}"
    )


def gain_interval(row: Mapping[str, float]) -> str:
    return f"[{write_signed(row['over_params_low'])}, {write_signed(row['over_params_high'])}]"


def write_signed(value: float) -> str:
    return units.MISSING if units.missing(value) else f"{value:+.3f}"


def budget_regret_sheet(rows: pd.DataFrame, order: Sequence[str]) -> Sheet:
    """One target's regrets, a column for each budget, proxies in `order` of their titles."""
    limited = rows[(rows["share"] < 1) | (rows["cost"] == BASELINE)]  # without a limit all costs are equal
    limited = limited.sort_values("share", key=lambda share: share == 1, kind="stable")
    budgets = list(dict.fromkeys(zip(limited["cost"], limited["share"], strict=True)))
    cells = {
        (row["title"], row["cost"], row["share"]): f"{100 * row['top1']:z.2f} / {100 * row['top10']:z.2f}"
        for row in records(limited)
    }
    lines = tuple((name, *(cells[name, *budget] for budget in budgets)) for name in order)
    return Sheet((Column("proxy"), *(Column(budget_heading(*budget), numeric=True) for budget in budgets)), lines)


def budget_heading(cost: str, share: float) -> str:
    """A budget in words."""
    named = COSTS.get(cost, f"latency on {cost.removesuffix('_latency_ms').replace('_', ' ')}")
    return "no limit" if share == 1 else f"{named}, lowest {100 * share:.0f}\u00a0%"


def target_sentence(rows: pd.DataFrame) -> str:
    """How many of one target's proxies beat counting parameters, each on its own architectures, and by how much."""
    others = rows[rows["proxy"] != BASELINE]
    better, unclear, worse, void = (
        int((others["verdict"] == word).sum()) for word in (BEATS, NOT_SHOWN, WORSE, NO_VALUE)
    )
    best = others[others["verdict"] == BEATS].sort_values("over_params", ascending=False, kind="stable").head(3)
    named = ", ".join(f"{one['title']} by {one['over_params']:.3f}" for one in records(best))
    silent = f", and {void} {'have' if void > 1 else 'has'} no value here" if void else ""
    baseline = rows[rows["proxy"] == BASELINE].nlargest(1, "architectures").iloc[0]
    return (
        f"{rows['target'].iloc[0]}: of {units.some(len(others), 'score')}, {better or 'none'} "
        f"{'beat' if better > 1 else 'beats'} counting parameters on the same architectures"
        f"{f' (in Kendall, {named})' if named else ''}; {unclear or 'none'} {'are' if unclear > 1 else 'is'} not shown "
        f"to, {worse or 'none'} {'are' if worse > 1 else 'is'} worse"
        f"{silent}. On {baseline['architectures']:,} architectures, counting parameters has a Kendall of "
        f"{decimals(baseline['kendall'])}."
    )


def benchmark_markdown(benchmark: ProxyBenchmark, command: str) -> str:
    """All tables, sentences on them and how to read them."""
    benchmark = ProxyBenchmark(add_titles(benchmark.proxies), add_titles(benchmark.regrets), benchmark.notes)
    parts = [f"{made_by(command)}\n", *(f"{note}\n" for note in benchmark.notes)]
    for name, rows in benchmark.proxies.groupby("target", sort=False, observed=True):
        lost = benchmark.regrets[benchmark.regrets["target"] == name]
        parts += [f"## {name}\n", f"{target_sentence(rows)} Accuracies: {rows['accuracy'].iloc[0]}.\n"]
        parts += [benchmark_sheet(rows).to_markdown(), scoring_effort_sheet(rows).to_markdown()]
        parts += [PICKS_NOTE + "\n", budget_regret_sheet(lost, list(rows["title"])).to_markdown()]
    parts += ["## How to read it\n", "".join(f"- {note}\n" for note in NOTES)]
    parts += ["## Published figures, none of them ours\n", f"Kendall / Spearman. {source()}.\n"]
    return "\n".join([*parts, published_sheet().to_markdown()])
