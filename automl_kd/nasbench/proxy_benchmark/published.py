"""Figures of proxies that others published on NAS-Bench-201: data with a source, never mixed with what is measured."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import NamedTuple

from automl_kd.results import units
from automl_kd.results.sheet import Column, Sheet

PUBLISHED_FILE = Path(__file__).with_name("published.toml")
PUBLISHED_DATASETS = ("cifar10", "cifar100", "imagenet16")


class Figures(NamedTuple):
    """Correlations with test accuracy after 200 epochs, NaN where not given. `proxy`: our name, empty if we have none.

    `labels`: whether it was fitted to trained accuracies.
    """

    title: str
    proxy: str
    labels: bool
    kendall: dict[str, float]
    spearman: dict[str, float]


@cache
def figures() -> tuple[Figures, ...]:
    """All of them, in the order of the source."""
    return tuple(
        Figures(
            one["title"],
            one["proxy"],
            one.get("labels", False),
            {dataset: one[dataset][0] for dataset in PUBLISHED_DATASETS},
            {dataset: one[dataset][1] for dataset in PUBLISHED_DATASETS},
        )
        for one in tomllib.loads(PUBLISHED_FILE.read_text(encoding="utf-8"))["figures"]
    )


@cache
def source() -> str:
    """Where they come from."""
    return str(tomllib.loads(PUBLISHED_FILE.read_text(encoding="utf-8"))["source"])


def published(proxy: str, dataset: str) -> tuple[float, float]:
    """Kendall and Spearman; NaN if none are known."""
    for one in figures():
        if one.proxy == proxy and dataset in PUBLISHED_DATASETS:
            return one.kendall[dataset], one.spearman[dataset]
    return float("nan"), float("nan")


def published_sheet() -> Sheet:
    """All published figures, ours or not, as Kendall / Spearman."""
    rows = tuple(
        (
            one.title,
            one.proxy,
            "yes" if one.labels else "no",
            *(
                f"{decimals(one.kendall[dataset])} / {decimals(one.spearman[dataset])}"
                for dataset in PUBLISHED_DATASETS
            ),
        )
        for one in figures()
    )
    words = ("published as", "our name", "uses trained accuracies")
    return Sheet((*map(Column, words), *(Column(dataset, numeric=True) for dataset in PUBLISHED_DATASETS)), rows)


def decimals(value: float) -> str:
    """A correlation with three decimals; a dash for none."""
    return units.MISSING if units.missing(value) else f"{value:.3f}"
