"""The students of an answer as tables: for people, for other programs and as plain values."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from automl_kd.results import units
from automl_kd.results.archive.choice import StudentChoice
from automl_kd.results.archive.limits import COST_MEASURES
from automl_kd.results.archive.sentences import accuracy_in_words, choice_sentences, training_command
from automl_kd.results.archive.students import ScoredStudent, TrainedStudent
from automl_kd.results.sheet import Column, Sheet

MARK_BEST, MARK_SMALLEST = "best", "smallest"
STUDENT_COLUMNS = (
    Column(""),
    Column("architecture"),
    Column("method"),
    Column("validation, %", numeric=True),
    Column("seeds", numeric=True),
    Column("epochs", numeric=True),
    *(Column(measure.title, numeric=True) for measure in COST_MEASURES.values()),
    Column("test, %", numeric=True),
    Column("student"),
)
ON_TERMINAL = tuple(column.name for column in STUDENT_COLUMNS[:-1])
"""The description of a student is long; its architecture names it."""


def mark_of(choice: StudentChoice, one: TrainedStudent) -> str:
    """Whether it is the best, the smallest within one standard error of that, the plain student."""
    marks = [*([MARK_BEST] if one is choice.best else []), *([MARK_SMALLEST] if one is choice.smallest else [])]
    return ", ".join([*marks, *(["plain"] if one.plain else [])])


def students_sheet(choice: StudentChoice, students: Sequence[TrainedStudent]) -> Sheet:
    """A line for each student; of a short training with the epochs that it lacks."""
    return Sheet(STUDENT_COLUMNS, tuple(student_cells(choice, one) for one in students))


def student_cells(choice: StudentChoice, one: TrainedStudent) -> tuple[str, ...]:
    short = f" of {one.full_epochs:g}" if one.lacks_epochs else ""
    short += ", stopped" if one.status == "stopped" else ""
    begun = units.beginning(one.init)
    return (
        mark_of(choice, one),
        one.architecture_id,
        f"labels alone{begun}" if one.method == "scratch" and begun else f"{one.method}{begun}",
        accuracy_in_words(one),
        str(one.seeds),
        f"{one.epochs:.3g}{short}",
        *(measure.write(one.costs.by_name[name]) for name, measure in COST_MEASURES.items()),
        units.percent(one.test_accuracy),
        one.student,
    )


def student_record(one: TrainedStudent) -> dict[str, Any]:
    """Plain values; accuracies are fractions."""
    return {
        "folder": str(one.folder),
        "space": one.space,
        "architecture_id": one.architecture_id,
        "student": one.student,
        "method": one.method,
        "options": one.options_json,
        "init": one.init,
        "roles": list(one.roles),
        "plain": one.plain,
        "val_accuracy": one.val_accuracy,
        "standard_error": one.standard_error,
        "test_accuracy": one.test_accuracy,
        "seeds": one.seeds,
        "status": one.status,
        "epochs": one.epochs,
        "full_epochs": one.full_epochs,
        "full": one.full,
        **dict(one.costs.by_name.items()),
        "keys": list(one.keys),
        "trial": None if one.trial is None else str(one.trial),
    }


def choice_record(choice: StudentChoice, top: int) -> dict[str, Any]:
    """The whole answer as plain values, with the first `top` students."""
    best, smallest, missing = choice.best, choice.smallest, choice.missing
    return {
        "limits": choice.limits.given,
        "cost": choice.cost,
        "latency_device": next(iter(choice.archive.devices), None),
        "best": best and student_record(best),
        "smallest_within_one_error": smallest and student_record(smallest),
        "front": [student_record(one) for one in choice.front],
        "students": [student_record(one) for one in choice.shown[:top]],
        "missing": missing
        and {
            "reason": missing.reason,
            "architecture_id": missing.student.architecture_id,
            "space": missing.student.space,
            "student": missing.student.student,
            **missing.student.costs.by_name,
            "proxies": list(missing.student.proxies) if isinstance(missing.student, ScoredStudent) else [],
            "command": training_command(choice, missing),
        },
        "trained": len(choice.archive.trained),
        "scored": choice.archive.scored_count,
        "left_out": dict(choice.archive.left_out),
        "sentences": [one.text for one in choice_sentences(choice)],
    }


def students_csv(choice: StudentChoice) -> str:
    """A line for each student of the archive that compares with the best, in full precision, and each within limits."""
    students = list(dict.fromkeys((*choice.shown, *choice.peers)))
    records = [
        {
            "within_limits": one in choice.shown,
            "on_front": one in choice.front,
            "best": one is choice.best,
            "smallest_within_one_error": one is choice.smallest,
            **{name: " ".join(value) if isinstance(value, list) else value for name, value in record.items()},
        }
        for one, record in ((one, student_record(one)) for one in students)
    ]
    sink = io.StringIO()
    writer = csv.DictWriter(sink, list(records[0]) if records else ["architecture_id"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return sink.getvalue()
