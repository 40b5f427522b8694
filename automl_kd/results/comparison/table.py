"""A comparison of methods for people: its tables as sheets, and all of it as Markdown."""

from __future__ import annotations

import math

from automl_kd.results import units
from automl_kd.results.comparison.comparison import Comparison
from automl_kd.results.comparison.entries import COMPUTE_MARGIN, ComparisonEntry
from automl_kd.results.comparison.sentences import comparison_sentences, reading, write_share
from automl_kd.results.published import published_of
from automl_kd.results.sheet import Column, Sheet
from automl_kd.results.statistics.interval import Estimate
from automl_kd.results.verdict.readings import readings_sheet


def result_sheet(judged: Comparison) -> Sheet:
    """What each entry reached and whether it helped; the share of the compute only if there are several.

    And, if there are any, in how many trainings the method's own search found nothing, as remarks below say.
    """
    several, seeds = len(judged.fractions) > 1, len({one.test.n for one in judged.entries}) > 1
    remarked = any(one.remarked for one in judged.entries)
    beside = any(one["method"] for one in judged.published)
    columns = [
        Column("method"),
        *([Column("compute", numeric=True)] if several else []),
        Column("test, %", numeric=True),
        Column("validation, %", numeric=True),
        *([Column("seeds", numeric=True)] if seeds else []),
        *([Column("with a remark", numeric=True)] if remarked else []),
        Column("difference, points", numeric=True),
        Column("p", numeric=True),
        Column("p, adjusted", numeric=True),
        Column("finding"),
        Column("cost", numeric=True),
        Column("training", numeric=True),
        *([Column("published, %", numeric=True)] if beside else []),
    ]
    rows = tuple(
        (
            one.title,
            *([write_share(one.compute_fraction)] if several else []),
            units.percent_interval(one.test.mean, one.test.half_width),
            units.percent(one.val_mean),
            *([str(one.test.n)] if seeds else []),
            *([f"{one.remarked} of {one.test.n}" if one.remarked else ""] if remarked else []),
            write_difference(one.difference),
            probability(one.p),
            probability(one.p_holm),
            conclusion(one),
            amount(one.cost),
            units.duration(one.seconds),
            *([published_at(judged, one)] if beside else []),
        )
        for one in judged.entries
    )
    return Sheet(tuple(columns), rows)


def published_at(judged: Comparison, one: ComparisonEntry) -> str:
    """What others have published for an entry; at full compute alone, where they trained."""
    if one.compute_fraction < 1:
        return units.MISSING
    return published_of(judged.published, one.compared_method.name, one.options_json)


def training_effort_sheet(judged: Comparison) -> Sheet:
    """How each method was trained, at all shares of the compute, and the cost of choosing its options."""
    methods: dict[tuple[str, str], list[ComparisonEntry]] = {}
    for one in judged.entries:
        methods.setdefault((one.compared_method.name, one.options_json), []).append(one)
    rows = tuple(training_effort(entries) for entries in methods.values())
    words = {"method", "options", "student"}
    names = ("method", "epochs", "tried", "cost of choosing", "failed", "options", "params", "student")
    return Sheet(tuple(Column(name, numeric=name not in words) for name in names), rows)


def training_effort(entries: list[ComparisonEntry]) -> tuple[str, ...]:
    first = entries[0]
    return (
        first.title,
        ", ".join(one.length for one in entries),
        str(first.tried) if first.tried else units.MISSING,
        amount(first.choice_cost) if first.tried else units.MISSING,
        str(sum(one.failed for one in entries)),
        ", ".join(filter(None, (units.options(first.options_json), first.compared_method.recipe))) or units.MISSING,
        units.format_count(first.params),
        first.student,
    )


def attempt_sheet(judged: Comparison) -> Sheet:
    """Every combination of options that the choice tried, method by method."""
    names = ("method", "options", "validation, %", "seeds", "lost", "in the finals")
    rows = tuple(
        (
            one.compared_method.title,
            units.options(one.options_json) or units.MISSING,
            units.percent(one.val_mean),
            str(one.seeds),
            str(one.lost),
            "yes" if one.chosen else "",
        )
        for one in judged.attempts
    )
    numeric = {"validation, %", "seeds", "lost"}
    return Sheet(tuple(Column(name, numeric=name in numeric) for name in names), rows)


def stage_sheet(judged: Comparison) -> Sheet:
    """What each stage cost in all."""
    stages = {"teacher": "teacher", "choice": "choice of options", "final": "finals"}
    names = ("stage", "trials", "training time", "training MACs", "cost")
    rows = tuple(
        (
            stages[one.stage],
            str(one.trials),
            units.duration(one.seconds),
            units.format_count(one.train_macs),
            amount(one.train_macs / judged.unit.macs),
        )
        for one in judged.costs
    )
    return Sheet(tuple(Column(name, numeric=place > 0) for place, name in enumerate(names)), rows)


def cost_note(judged: Comparison) -> str:
    whole = " are whole, at least one, and" if all(one.last_epoch == 1 for one in judged.entries) else ""
    return (
        f"Cost is in {judged.unit.name}, with all forward and backward passes of a training, the teacher's included;"
        f" cost and training time are means per training. Epochs{whole} are set before it is known what a search inside"
        f" a method finds, so costs differ; by more than {COMPUTE_MARGIN:.0%} is marked."
    )


def amount(cost: float) -> str:
    """A cost in units: three digits."""
    return units.format_count(cost) if cost >= 99.95 else units.times(cost)


def write_difference(one: Estimate) -> str:
    if not one.n:
        return units.MISSING
    return units.points(one.mean) if one.n < 2 else f"{units.points(one.mean)} ± {units.percent(one.half_width)}"


def probability(p: float) -> str:
    return units.MISSING if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def conclusion(one: ComparisonEntry) -> str:
    """The finding or why there is none, and whether the entry had more or less compute."""
    unequal = f"; had {units.times(one.extra)} times the compute" if one.unequal else ""
    return f"{one.finding}{f': {one.reason}' if one.reason else ''}{unequal}"


def side_by_side_sheet(judged: Comparison) -> Sheet | None:
    """The readings beside each other; None where there is one."""
    return readings_sheet(judged.readings, judged.reference.title)


def comparison_markdown(judged: Comparison) -> str:
    """All of it: sentences, the table, how entries were trained, what was tried, what the stages cost."""
    blocks = [
        *(f"{text}\n" for text in comparison_sentences(judged)),
        *(f"{text}\n" for text in reading(judged)),
        result_sheet(judged).to_markdown(),
        *([side_by_side.to_markdown()] if (side_by_side := side_by_side_sheet(judged)) else []),
        f"{cost_note(judged)}\n",
        training_effort_sheet(judged).to_markdown(),
    ]
    if judged.attempts:
        blocks += ["What was tried to choose the options:\n", attempt_sheet(judged).to_markdown()]
    return "\n".join([*blocks, "What the stages cost:\n", stage_sheet(judged).to_markdown()])
