"""The findings of a comparison in sentences: what helped, what did not, and what the test cannot show."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from statistics import median

from automl_kd.results import units
from automl_kd.results.comparison.comparison import LEVEL, Comparison
from automl_kd.results.comparison.entries import ComparisonEntry
from automl_kd.results.statistics.significance import detectable
from automl_kd.results.verdict.readings import disagreement_sentence
from automl_kd.results.verdict.teacher import upper
from automl_kd.spec import ReadingName

EQUAL: Mapping[ReadingName, tuple[str, str]] = {
    "compute": ("full compute", "the compute"),
    "shared-teacher": ("full compute with a shared teacher", "the compute with a shared teacher"),
    "epochs": ("equal epochs", "the epochs"),
}
"""What entries of a reading have in common, at all of it and at a share."""


def comparison_sentences(judged: Comparison) -> list[str]:
    """For each share of the compute, most first: which methods helped, which were worse, which showed no difference.

    Before them, a warning where the teacher gives reason to one.
    """
    found = [judged.warning] if judged.warning else []
    found += [of_fraction(judged, compute) for compute in judged.fractions]
    if judged.missing:
        names = "; ".join(one.title for one in judged.missing)
        found.append(f"Without a complete final training so far: {names}.")
    return found


def of_fraction(judged: Comparison, compute: float) -> str:
    """One paragraph on the entries at `compute`."""
    entries = judged.at(compute)
    whole, part = EQUAL[judged.reading]
    where = whole if compute == 1 else f"{write_share(compute)} of {part}"
    base = next((one for one in entries if one.finding == "reference"), None)
    if base is None:
        return f"At {where} there is no finding: {judged.reference.title} was not completed there."
    against = f"At {where}, against {base.title} ({units.percent(base.test.mean)} % on test),"
    others = [one for one in entries if one.finding != "reference"]
    if not others:
        return f"{against} no other method was trained."
    helped = [one for one in others if one.finding == "helped"]
    first = (
        f"{units.some(len(helped), 'method')} helped: {list_entries(helped)}"
        if helped
        else "none is shown to have helped"
    )
    return " ".join([f"{against} {first}.", *not_helped(others), *from_scratch(entries)])


def not_helped(entries: list[ComparisonEntry]) -> Iterator[str]:
    """The other findings, and what is not known by the reason why."""
    for word in ("worse", "no difference shown"):
        if ours := [one for one in entries if one.finding == word]:
            yield f"{word.capitalize()}: {list_entries(ours)}."
    unknown = [one for one in entries if one.finding == "not known"]
    for reason in dict.fromkeys(one.reason for one in unknown):
        yield f"Not known, as {reason}: {list_entries([one for one in unknown if one.reason == reason])}."


def list_entries(entries: list[ComparisonEntry]) -> str:
    return "; ".join(map(mention, entries))


def mention(one: ComparisonEntry) -> str:
    """The entry with its difference in points and what else must be known of it."""
    notes = [units.points(one.difference.mean)] if one.difference.n else []
    notes += [f"{units.some(one.failed, 'training')} failed"] if one.failed else []
    notes += [f"with {units.times(one.extra)} times the compute"] if one.unequal else []
    return f"{one.title} ({', '.join(notes)})" if notes else one.title


def from_scratch(entries: list[ComparisonEntry]) -> Iterator[str]:
    """Where the students without a teacher stand."""
    ranked = [one for one in entries if one.test.n]
    for one in ranked:
        if one.compared_method.method == "scratch":
            place = f"place {ranked.index(one) + 1} of {len(ranked)} by validation accuracy"
            yield f"{upper(one.title)} reaches {units.percent(one.test.mean)} %, {place}."


def reading(judged: Comparison) -> list[str]:
    """How to read the findings: what such a test cannot see, and how the numbers came about."""
    tests = sum(not math.isnan(one.p) for one in judged.entries)
    ns = sorted({one.test.n for one in judged.entries if one.test.n})
    seeds = units.some(ns[-1], "seed") if len(ns) == 1 else f"{ns[0]} to {ns[-1]} seeds" if ns else "no seed"
    origin = (
        f"Means over {seeds}, with 95 % intervals; differences in percentage points, paired by seed, from"
        f" {judged.reference.title} at the same share of the compute. Options were chosen on validation in trainings of"
        " their own, with other seeds; test accuracy was used for nothing but the numbers shown."
    )
    teachers = [f"The teacher ({label}) reaches {units.percent(value)} % on test." for label, value in judged.teachers]
    further = " ".join(
        filter(None, [disagreement_sentence(judged.readings, judged.reference.title), *judged.doublings])
    )
    return [*([power(judged, tests)] if tests else []), *([further] if further else []), " ".join([origin, *teachers])]


def power(judged: Comparison, tests: int) -> str:
    """How findings are made, and which differences that can miss by the spread that the rows show."""
    tested = [one.difference for one in judged.entries if not math.isnan(one.p)]
    alone = median(one.half_width for one in tested)
    adjusted = median(detectable(one, LEVEL / tests) for one in tested)
    after = f", and after the adjustment those under {units.percent(adjusted)}" if tests > 1 else ""
    return " ".join(
        [
            f"A method helped, or is worse, if the p-value of its paired t-test is below {LEVEL:g} after Holm's"
            f" adjustment for {units.some(tests, 'comparison')}. With {median(one.n for one in tested):g} seeds such a"
            f" test can miss differences under {units.percent(alone)} points, the typical (median) half width of a"
            f" paired interval{after}: what is not shown may still be there.",
            *unadjusted(judged),
        ]
    )


def unadjusted(judged: Comparison) -> Iterator[str]:
    """The entries that differ from the reference only without the adjustment."""
    several = len(judged.fractions) > 1
    near = [one for one in judged.entries if one.p < LEVEL <= one.p_holm]
    if near:
        names = "; ".join(
            mention(one) + (f" at {write_share(one.compute_fraction)}" if several else "") for one in near
        )
        yield f"Without the adjustment, as if it were the only one asked about, p is below {LEVEL:g} for: {names}."


def write_share(compute: float) -> str:
    return f"{100 * compute:.3g} %"
