"""A distillation for people: its trainings and its teacher, the differences between them, and all of it as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from automl_kd.results import units
from automl_kd.results.sheet import Column, Sheet
from automl_kd.results.statistics.interval import Estimate
from automl_kd.results.store.row import FROM_FILE
from automl_kd.results.verdict.distillation import difference, distillation_arms, judged_role, training_title
from automl_kd.results.verdict.gain import Verdict
from automl_kd.results.verdict.readings import readings_sheet
from automl_kd.spec import FOUND_FRESH, FOUND_LABELS, FinalRole

TRAINING_COLUMNS = (
    *("training", "validation, %", "test, %", "spread", "seeds", "params", "epochs", "time"),
    *("training MACs", "failed"),
)
DISTILLATION_NOTE = (
    "Accuracies are those of the last epoch, means over seeds; test with its 95 % interval. Spread is the standard "
    "deviation of test over seeds, in points. Time and multiply-adds are those of one training, with the teacher's "
    "forward passes."
)


def trainings_sheet(judged: Verdict, rows: pd.DataFrame) -> Sheet:
    """From scratch, plain KD, the method if it is another one, and the teacher."""
    return sheet_of(TRAINING_COLUMNS, [*training_lines(judged), *teacher_lines(rows)])


def training_lines(judged: Verdict) -> Iterator[tuple[str, ...]]:
    for role, one in distillation_arms(judged.arms).items():
        yield (
            training_title(role, one),
            units.percent(one.val.mean),
            units.percent_interval(one.test.mean, one.test.half_width),
            units.percent(one.test.std),
            str(one.test.n),
            units.format_count(one.params),
            one.length,
            units.duration(one.seconds),
            units.format_count(one.train_macs),
            str(one.failed),
        )


def teacher_lines(rows: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    """The teacher as it was trained or measured last; nothing before that."""
    complete = rows[(rows["trial_kind"] == "teacher") & (rows["status"] == "complete")]
    for row in complete.tail(1).to_dict("records"):
        yield teacher_line(row)


def teacher_line(row: dict[Any, Any]) -> tuple[str, ...]:
    from_file = row["method"] == FROM_FILE
    return (
        f"teacher, {row['student']}{', from a file' * from_file}",
        units.percent(row["val_accuracy"]),
        units.percent(row["test_accuracy"]),
        units.MISSING,
        units.MISSING if from_file else "1",
        units.format_count(row["params"]),
        units.MISSING if from_file else str(row["epochs"]),
        units.MISSING if from_file else units.duration(row["seconds"]),
        units.MISSING if from_file else units.format_count(row["train_macs"]),
        "0",
    )


def list_differences(judged: Verdict) -> Iterator[tuple[str, Estimate]]:
    """Test accuracy of each taught training over the others, paired by seed, with what it is over what."""
    arms = distillation_arms(judged.arms)
    titles = {role: training_title(role, one) for role, one in arms.items()}
    role = judged_role(arms)
    wanted: list[tuple[FinalRole, FinalRole]] = [
        (role, one) for one in ("default-kd", FOUND_LABELS, FOUND_FRESH, "default-scratch")
    ]
    pairs = dict.fromkeys([*wanted, ("default-kd", "default-scratch"), (FOUND_FRESH, "default-scratch")])
    for better, base in pairs:
        if better != base and better in arms and base in arms:
            base_title = titles[base].replace("from scratch", "training from scratch")
            yield f"{titles[better]} over {base_title}", difference(arms[better], arms[base])


def differences_sheet(judged: Verdict) -> Sheet:
    """Those differences, in percentage points."""
    lines = []
    for title, gain in list_differences(judged):
        interval = f"{units.points(gain.low)} to {units.points(gain.high)}" if gain.n > 1 else units.MISSING
        lines.append((title, units.points(gain.mean) if gain.n else units.MISSING, interval, str(gain.n)))
    return sheet_of(("what gained", "difference, points", "95 % interval", "seeds"), lines)


def distillation_cost_sheet(judged: Verdict) -> Sheet:
    """What the teacher and all trainings of the student cost; the last column counts trainings by plain KD."""
    names = {"teacher": "teacher", "final": "student, all trainings"}
    lines = [
        (
            names[one.stage],
            str(one.trials),
            units.duration(one.seconds),
            units.format_count(one.train_macs),
            units.times(one.trainings),
        )
        for one in judged.costs
        if one.stage in names
    ]
    return sheet_of(("what", "trainings", "time", "training MACs", "in trainings by plain KD"), lines)


def sheet_of(names: tuple[str, ...], lines: Sequence[tuple[str, ...]]) -> Sheet:
    return Sheet(tuple(Column(name, numeric=place > 0) for place, name in enumerate(names)), tuple(lines))


def distillation_markdown(judged: Verdict, rows: pd.DataFrame) -> str:
    """The sentence, the trainings, the differences, the costs."""
    sheets = [trainings_sheet(judged, rows), differences_sheet(judged), distillation_cost_sheet(judged)]
    side_by_side = readings_sheet(judged.readings)
    sheets[2:2] = [side_by_side] if side_by_side else []
    close = " ".join(filter(None, [judged.readings_sentence, judged.teacher_sentence, judged.cost_sentence]))
    tables = [one.to_markdown() for one in sheets if one.rows]
    return "\n".join([f"{judged.sentence}\n", *tables, f"{DISTILLATION_NOTE}\n", close, ""])
