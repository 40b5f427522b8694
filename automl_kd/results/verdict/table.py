"""The verdict for people: its tables as sheets, and all of it as Markdown."""

from __future__ import annotations

from automl_kd.results import units
from automl_kd.results.sheet import Column, Sheet
from automl_kd.results.verdict.arms import ANSWERS, ARMS, WARM_START, part_titles
from automl_kd.results.verdict.gain import Verdict
from automl_kd.results.verdict.readings import readings_sheet


def verdict_table(judged: Verdict) -> Sheet:
    """The arms, for people. Accuracies with 95 % intervals over seeds; costs are means per training."""
    names = ["student", "test, %", "validation, %", "seeds", "params", "epochs", "training", "training MACs", "failed"]
    columns = [
        *(Column(name, numeric=place > 0) for place, name in enumerate(names)),
        Column("architecture"),
        Column("method"),
    ]
    rows = tuple(
        (
            ARMS[role],
            units.percent_interval(one.test.mean, one.test.half_width),
            units.percent(one.val.mean),
            str(one.test.n),
            units.format_count(one.params),
            one.length,
            units.duration(one.seconds),
            units.format_count(one.train_macs),
            str(one.failed),
            one.student,
            one.method + units.beginning(one.init),
        )
        for role, one in judged.arms.items()
    )
    return Sheet(tuple(columns), rows)


def gain_table(judged: Verdict) -> Sheet:
    """The paired differences, in percentage points; those of a warm start where there is one."""
    contrasts = {
        "search": "found student with its method, over default student with plain KD",
        "architecture": "found student over default student, both from scratch",
        "teaching": "found student with its method over the same from scratch",
        ANSWERS: "found student with its method over labels alone from the same weights",
        WARM_START: "found student with its method over the same from fresh weights",
    }
    titles = part_titles(judged.arms)
    rows = tuple(
        (
            f"the {titles[name]}: {contrasts[name]}",
            units.points(gain.mean) if gain.n else units.MISSING,
            f"{units.points(gain.low)} to {units.points(gain.high)}" if gain.n > 1 else units.MISSING,
            str(gain.n),
        )
        for name, gain in judged.gains.items()
        if gain.n or name not in {ANSWERS, WARM_START}
    )
    names = ("what gained", "difference, points", "95 % interval", "seeds")
    return Sheet(tuple(Column(name, numeric=place > 0) for place, name in enumerate(names)), rows)


def cost_table(judged: Verdict) -> Sheet:
    """What each stage cost in all; the last column counts final trainings of the default student with plain KD."""
    stages = {"teacher": "teacher", "search": "search", "choice": "choice of finalist", "final": "final comparison"}
    rows = tuple(
        (
            stages[one.stage],
            str(one.trials),
            units.duration(one.seconds),
            units.format_count(one.train_macs),
            units.times(one.trainings),
        )
        for one in judged.costs
    )
    names = ("stage", "trials", "training time", "training MACs", "in default trainings")
    return Sheet(tuple(Column(name, numeric=place > 0) for place, name in enumerate(names)), rows)


def verdict_to_markdown(judged: Verdict) -> str:
    """The verdict as Markdown: the sentence, the arms, the differences, the costs."""
    tables = (verdict_table(judged), gain_table(judged), readings_sheet(judged.readings), cost_table(judged))
    close = " ".join(
        filter(None, [judged.parts_sentence, judged.readings_sentence, judged.teacher_sentence, judged.cost_sentence])
    )
    shown = [table.to_markdown() for table in tables if table is not None]
    return "\n".join([f"{judged.sentence}\n", *shown, close, ""])
