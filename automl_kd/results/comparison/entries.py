"""The entries of a comparison: one method with one set of options at one share of the full compute.

What its trials reached over seeds and what they cost; how it compares with the reference is filled in later.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import pandas as pd

from automl_kd.results import units
from automl_kd.results.statistics.interval import Estimate, estimate_mean

Finding = Literal["reference", "helped", "worse", "no difference shown", "not known"]

COMPUTE_MARGIN = 0.05
"""Compute is unequal if costs differ from the reference's by more than this fraction."""


class Unit(NamedTuple):
    """The unit of costs: this many multiply-adds."""

    name: str
    macs: float


@dataclass(frozen=True, kw_only=True)
class ComparedMethod:
    """A compared method as in the experiment's record. `title` is for people; `recipe`: what it has otherwise of it."""

    name: str
    title: str
    method: str
    recipe: str = ""


@dataclass(frozen=True, kw_only=True)
class ComparisonEntry:
    """One line of the table.

    `title`: the method's, with the options that distinguish this entry if the method has several in the finals.
    `compute_fraction`: fraction of the full compute in (0, 1]. `accuracy`: by seed. `cost`: in units per training,
    `seconds` per training, means over complete trials; `choice_cost`: in units, all trials of the choice together.
    `tried`: combinations of options trained in the choice. `failed`: finals that are not complete. `remarked`: complete
    ones of whose own search their method says that it found nothing, or the like.
    `difference`: accuracy less that of the reference at the same fraction, over the seeds that both completed.
    `p`, `p_holm`: two-sided, NaN where there is no test. `finding` is "not known" for the `reason` given.
    `extra`: cost over that of the reference there, NaN if unknown.
    """

    compared_method: ComparedMethod
    title: str
    options_json: str
    compute_fraction: float
    epochs: int
    last_epoch: float = 1.0
    params: float | None
    student: str
    accuracy: dict[int, float]
    test: Estimate
    val_mean: float
    cost: float
    seconds: float
    tried: int
    choice_cost: float
    failed: int
    remarked: int = 0
    difference: Estimate
    p: float = math.nan
    p_holm: float = math.nan
    finding: Finding = "not known"
    reason: str = ""
    extra: float = math.nan

    @property
    def length(self) -> str:
        """Epochs with the fraction of the last one, for people."""
        return units.epochs(self.epochs, self.last_epoch)

    @property
    def unequal(self) -> bool:
        """Whether it had more or less compute than the reference it is compared with."""
        return abs(self.extra - 1) > COMPUTE_MARGIN


def read_compared_method(section: Mapping[str, Any]) -> ComparedMethod:
    recipe = {f"recipe.{name}": value for name, value in section.get("recipe", {}).items()}
    return ComparedMethod(
        name=section["name"],
        title=section.get("title") or section["name"],
        method=section["method"],
        recipe=units.options(json.dumps(recipe)),
    )


def place(one: ComparisonEntry) -> tuple[float, float, str]:
    return -one.compute_fraction, math.inf if math.isnan(one.val_mean) else -one.val_mean, one.title


def unit_of(rows: pd.DataFrame, record: Mapping[str, Any], reference: ComparedMethod) -> Unit:
    """A forward pass of the reference's student over the training set; over one image if their number is not known.

    Multiply-adds if the student's are not known either.
    """
    macs = rows[(rows["role"] == reference.name) & (rows["trial_kind"] != "teacher")]["macs"].dropna()
    if macs.empty:
        return Unit("multiply-adds", 1.0)
    images = int((record.get("data") or {}).get("train_images") or 0)
    if not images:
        return Unit("forward passes of the student on one example", float(macs.iloc[0]))
    return Unit("forward passes of the student over the training set", float(macs.iloc[0]) * images)


def comparison_entries(
    rows: pd.DataFrame, line_up: Mapping[str, ComparedMethod], unit: Unit, metric: str
) -> Iterator[ComparisonEntry]:
    """Every entry of the finals, not compared yet."""
    final = rows[(rows["trial_kind"] == "final") & rows["role"].isin(list(line_up))]
    sets = final.groupby("role", observed=True)["options_json"].unique()
    choice = rows[rows["trial_kind"] == "choice"].drop_duplicates(["role", "key"])
    for (role, options, compute_fraction), ours in final.groupby(
        ["role", "options_json", "compute_fraction"], observed=True
    ):
        one = line_up[str(role)]
        tests = choice[choice["role"] == one.name]
        yield ComparisonEntry(
            compared_method=one,
            title=entry_title(one, str(options), [str(text) for text in sets[one.name]]),
            options_json=str(options),
            compute_fraction=float(str(compute_fraction)),
            tried=int(tests["options_json"].nunique()),
            choice_cost=float(tests["train_macs"].sum()) / unit.macs,
            difference=estimate_mean([]),
            **measure_entry(ours, unit, metric),
        )


def measure_entry(ours: pd.DataFrame, unit: Unit, metric: str) -> dict[str, Any]:
    """What the trials of one entry came to."""
    complete = ours[(ours["status"] == "complete") & ours[metric].notna()].drop_duplicates("key").sort_values("seed")
    known = complete["params"].dropna()
    described = complete if len(complete) else ours
    return {
        "epochs": int(described["epochs"].iloc[0]),
        "last_epoch": float(described["last_epoch"].fillna(1.0).iloc[0]),
        "params": float(known.mean()) if len(known) else None,
        "student": ", ".join(sorted(set(described["student"]))),
        "accuracy": {int(seed): float(value) for seed, value in zip(complete["seed"], complete[metric], strict=True)},
        "test": estimate_mean(complete[metric]),
        "val_mean": float(complete[metric.replace("test_", "val_")].mean()),
        "cost": float(complete["train_macs"].mean()) / unit.macs,
        "seconds": float(complete["seconds"].mean()),
        "failed": len(ours) - len(complete),
        "remarked": int(complete["remark"].notna().sum()) if "remark" in complete else 0,
    }


def entry_title(one: ComparedMethod, options: str, all_sets: Sequence[str]) -> str:
    """The method's title, and the options in which its entries differ if it has several."""
    if len(all_sets) < 2:
        return one.title
    loaded, own = [json.loads(text) for text in all_sets], json.loads(options)
    names = sorted({name for chosen in loaded for name in chosen})
    apart = [name for name in names if len({json.dumps(chosen.get(name)) for chosen in loaded}) > 1]
    return f"{one.title} ({units.options(json.dumps({name: own[name] for name in apart if name in own}))})"
