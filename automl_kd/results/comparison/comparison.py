"""Comparison of distillation methods at equal compute: accuracy, cost, and whether each method helped.

An entry is a method with one set of options, trained at one fraction of the full compute with several seeds. It is
compared with the reference at the same fraction, seed by seed: a paired t-test, adjusted by Holm for all entries
compared. Trials of the kind "choice", with seeds of their own, chose options on validation; test accuracy only
reports.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from automl_kd.errors import ResultError
from automl_kd.results.comparison.entries import (
    ComparedMethod,
    ComparisonEntry,
    Finding,
    Unit,
    comparison_entries,
    place,
    read_compared_method,
    unit_of,
)
from automl_kd.results.statistics.interval import Estimate, estimate_mean
from automl_kd.results.statistics.significance import has_spread, holm, t_test
from automl_kd.results.store.folder import read_experiment_record
from automl_kd.results.verdict.arms import StageCost, stage_cost
from automl_kd.results.verdict.readings import (
    Compared,
    ReadingTable,
    accuracies_by_length,
    doubling_sentence,
    readings_in,
    rows_in,
)
from automl_kd.results.verdict.teacher import teacher_of, warning
from automl_kd.spec import ReadingName

LEVEL = 0.05
"""Significance level of the adjusted p-value."""


class Attempt(NamedTuple):
    """A combination of options as the choice tried it; `lost`: trials that did not complete."""

    compared_method: ComparedMethod
    options_json: str
    val_mean: float
    seeds: int
    lost: int
    chosen: bool


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """`entries`: by compute, most first, then by mean validation accuracy. `missing`: without a complete final.

    `teachers`: what they are and their accuracy on test. `warning`: what speaks against the teacher, if
    anything does. `reading`: the one that `entries` are of, where their `compute_fraction` is the share of what is
    equal. `readings`: every other entry against the reference in each. `doublings`: what longer training gains.
    `published`: figures of others, as the experiment names them.
    """

    reference: ComparedMethod
    entries: tuple[ComparisonEntry, ...]
    missing: tuple[ComparedMethod, ...]
    unit: Unit
    costs: tuple[StageCost, ...]
    attempts: tuple[Attempt, ...]
    teachers: tuple[tuple[str, float], ...]
    warning: str = ""
    reading: ReadingName = "compute"
    readings: ReadingTable = field(default_factory=dict)
    doublings: tuple[str, ...] = ()
    published: tuple[Mapping[str, Any], ...] = ()

    @property
    def fractions(self) -> list[float]:
        return sorted({one.compute_fraction for one in self.entries}, reverse=True)

    def at(self, compute_fraction: float) -> list[ComparisonEntry]:
        return [one for one in self.entries if one.compute_fraction == compute_fraction]

    @property
    def standing(self) -> dict[str, ComparisonEntry]:
        """Of each method, by its name, its best options on validation at the most compute of the comparison."""
        found: dict[str, ComparisonEntry] = {}
        for one in self.at(max(self.fractions, default=1.0)):
            if one.test.n:
                found.setdefault(one.compared_method.name, one)
        return found

    @property
    def best(self) -> ComparisonEntry | None:
        """The best on validation of `standing`, of those with as many complete seeds as any; None before the first."""
        known = self.standing.values()
        seeds = max((one.test.n for one in known), default=0)
        return min((one for one in known if one.test.n == seeds), key=place, default=None)

    def rows_of_standing(self, finals: pd.DataFrame) -> pd.DataFrame:
        """Those of `finals` that `standing` is of: one set of options and one length for each method."""
        held = {(name, one.options_json, one.compute_fraction) for name, one in self.standing.items()}
        given = zip(finals["role"], finals["options_json"], finals["compute_fraction"].fillna(1.0), strict=True)
        return finals[[(str(role), str(options), float(share)) in held for role, options, share in given]]


def comparison_of(folder: Path, rows: pd.DataFrame) -> Comparison | None:
    """The comparison in an experiment's folder; None if that is a search for a student, or has no record."""
    record = record_of(folder)
    return comparison(rows, record) if is_comparison(record) else None


def record_of(folder: Path) -> dict[str, Any]:
    """The experiment in a folder; empty if it has no record."""
    return read_experiment_record(folder) if (folder / "experiment.json").exists() else {}


def is_comparison(record: Mapping[str, Any]) -> bool:
    return bool((record.get("comparison") or {}).get("methods"))


def comparison(rows: pd.DataFrame, record: Mapping[str, Any], metric: str = "test_accuracy") -> Comparison:
    """Judge the finals of one experiment whose `record` names methods to compare.

    `metric` is `test_accuracy`, of the last epoch, or `test_accuracy_best`, of the epoch best on validation.
    Raises `ResultError` for rows of several experiments or a record without methods to compare.
    """
    if rows["experiment"].nunique() > 1:
        raise ResultError(f"a comparison is of one experiment, got rows of {rows['experiment'].nunique()}; choose one")
    if not is_comparison(record):
        raise ResultError("the experiment's record compares no methods; ask for its verdict instead")
    section = record["comparison"]
    line_up = {one["name"]: read_compared_method(one) for one in section["methods"]}
    reference = line_up[section["reference"]]
    final, all_rows = rows[rows["trial_kind"] == "final"], rows
    unit = unit_of(rows, record, reference)
    known = {
        one: judged(list(comparison_entries(rows_in(rows, one), line_up, unit, metric)), reference)
        for one in readings_in(final)
    }
    reading, entries = next(iter(known.items()))
    rows = rows_in(rows, reading)
    done = {one.compared_method.name for one in entries if one.test.n}
    costs = (stage_cost(all_rows, trial_kind, None) for trial_kind in ("teacher", "choice", "final"))
    return Comparison(
        reference=reference,
        entries=tuple(sorted(entries, key=place)),
        missing=tuple(one for name, one in line_up.items() if name not in done),
        unit=unit,
        costs=tuple(one for one in costs if one.trials),
        attempts=tuple(attempts(rows, line_up)),
        teachers=tuple(teacher_accuracies(rows, metric)),
        warning=warning(teacher_of(rows)),
        reading=reading,
        readings=compare_entries(known),
        doublings=tuple(doubling_sentences(final, entries, metric)),
        published=tuple(record.get("published") or ()),
    )


def compare_entries(known: Mapping[ReadingName, Sequence[ComparisonEntry]]) -> dict[str, dict[ReadingName, Compared]]:
    """Every entry that is no reference, with its difference in each reading; named with its share if it has several."""
    several = len({one.compute_fraction for entries in known.values() for one in entries}) > 1
    found: dict[str, dict[ReadingName, Compared]] = {}
    for reading, entries in known.items():
        for one in sorted(entries, key=place):
            if one.finding != "reference":
                title = f"{one.title}, {100 * one.compute_fraction:.3g} %" if several else one.title
                found.setdefault(title, {})[reading] = Compared(gain=one.difference, epochs=one.length)
    return found


def doubling_sentences(final: pd.DataFrame, entries: Sequence[ComparisonEntry], metric: str) -> Iterator[str]:
    """What longer training gains, of the reference and of training from scratch."""
    for one in {entry.title: entry for entry in entries}.values():
        if one.finding == "reference" or one.compared_method.method == "scratch":
            ours = final[(final["role"] == one.compared_method.name) & (final["options_json"] == one.options_json)]
            yield from filter(None, [doubling_sentence(one.title, accuracies_by_length(ours, metric))])


def teacher_accuracies(rows: pd.DataFrame, metric: str) -> Iterator[tuple[str, float]]:
    known = rows[(rows["trial_kind"] == "teacher") & (rows["status"] == "complete")].dropna(subset=[metric])
    yield from ((str(student), float(value)) for student, value in zip(known["student"], known[metric], strict=True))


def attempts(rows: pd.DataFrame, line_up: Mapping[str, ComparedMethod]) -> Iterator[Attempt]:
    """The combinations that the choice tried, method by method, best first."""
    ours = rows[rows["trial_kind"] == "choice"].drop_duplicates(["role", "key"])
    final = rows[rows["trial_kind"] == "final"]
    chosen = set(zip(final["role"], final["options_json"], strict=True))
    for name, one in line_up.items():
        groups = ours[ours["role"] == name].groupby("options_json", observed=True)
        made = [attempt_of(one, str(options), group, (name, options) in chosen) for options, group in groups]
        yield from sorted(made, key=lambda each: (math.isnan(each.val_mean), -each.val_mean, each.options_json))


def attempt_of(one: ComparedMethod, options: str, trials: pd.DataFrame, chosen: bool) -> Attempt:
    complete = trials[trials["status"] == "complete"]
    lost = len(trials) - len(complete)
    return Attempt(one, options, float(complete["val_accuracy"].mean()), len(complete), lost, chosen)


def judged(entries: Sequence[ComparisonEntry], reference: ComparedMethod) -> list[ComparisonEntry]:
    """The entries with their differences from the reference at the same compute, tested and adjusted together."""
    bases = references(entries, reference)
    compared = [against(one, bases.get(one.compute_fraction), reference) for one in entries]
    adjusted = holm([one.p for one in compared])
    return [with_finding(one, p) for one, p in zip(compared, adjusted, strict=True)]


def references(entries: Sequence[ComparisonEntry], reference: ComparedMethod) -> dict[float, ComparisonEntry]:
    """The reference's entry at each compute; of several, the best on validation."""
    ours = [one for one in entries if one.compared_method == reference and one.test.n]
    return {one.compute_fraction: one for one in sorted(ours, key=place, reverse=True)}


def against(one: ComparisonEntry, base: ComparisonEntry | None, reference: ComparedMethod) -> ComparisonEntry:
    """`one` with its difference from `base` and the test of it, or with the reason why there is none."""
    if one is base:
        return dataclasses.replace(one, finding="reference")
    if not one.test.n:
        return dataclasses.replace(one, reason="no seed was completed")
    if base is None:
        return dataclasses.replace(one, reason=f"{reference.title} was not completed at this compute")
    # Rounded far below what a test set resolves, so that equal differences have no spread from the last bits.
    shared = [seed for seed in one.accuracy if seed in base.accuracy]
    difference = estimate_mean(round(one.accuracy[seed] - base.accuracy[seed], 12) for seed in shared)
    extra = one.cost / base.cost if base.cost > 0 else math.nan
    return dataclasses.replace(
        one, difference=difference, p=t_test(difference), extra=extra, reason=no_test(difference)
    )


def no_test(difference: Estimate) -> str:
    """Why the difference cannot be tested; empty if it can."""
    if difference.n < 2:
        return "one seed cannot separate a difference from chance" if difference.n else "no seed was completed by both"
    if has_spread(difference):
        return ""
    return "the difference is the same in every seed" if difference.mean else "no seed shows any difference"


def with_finding(one: ComparisonEntry, p_holm: float) -> ComparisonEntry:
    if math.isnan(p_holm):
        return one
    word: Finding = "no difference shown" if p_holm >= LEVEL else "helped" if one.difference.mean > 0 else "worse"
    return dataclasses.replace(one, p_holm=p_holm, finding=word)
