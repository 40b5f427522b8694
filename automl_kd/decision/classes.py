"""Classes that the student loses or wins against its teacher, and what each network mistakes for what."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from automl_kd.decision.predictions import TestPredictions
from automl_kd.results import units
from automl_kd.results.sheet import Column, Sheet

MATRIX_CLASSES = 20
"""Of more classes no matrix is drawn, and only the worst are listed."""

WORST_CLASSES = 10


class ClassAnswers(NamedTuple):
    """One class. `teacher`, `student`: the fractions of its `images` on which they are right, NaN without a teacher.

    `mistaken_for`: the class that the student names most often in its place, with how often; empty if it never errs.
    """

    name: str
    images: int
    teacher: float
    student: float
    mistaken_for: str

    @property
    def change(self) -> float:
        """What the student loses (below 0) or wins."""
        return self.student - self.teacher


class MatrixCell(NamedTuple):
    """`images`: how many. `share`: of the images of the true class, in whole percent. `right`: on the diagonal."""

    images: int
    share: int
    right: bool
    title: str


class ConfusionMatrix(NamedTuple):
    """A line for each true class, a cell for each answer."""

    title: str
    names: Sequence[str]
    lines: Sequence[Sequence[MatrixCell]]


def count_answers(predictions: TestPredictions, answers: Sequence[int]) -> NDArray[np.int64]:
    """(classes, classes): images of each true class, by the class that is answered."""
    size, places = len(predictions.class_names), predictions.labelled
    counts = np.zeros((size, size), dtype=np.int64)
    np.add.at(counts, (np.array(predictions.labels)[places], np.array(answers)[places]), 1)
    return counts


def compare_classes(predictions: TestPredictions) -> list[ClassAnswers]:
    """The classes that have test images, the most lost first; without a teacher those on which it errs most."""
    names = predictions.class_names
    student = count_answers(predictions, predictions.student)
    teacher = count_answers(predictions, predictions.teacher) if predictions.teacher else None
    found = []
    for place, name in enumerate(names):
        images = int(student[place].sum())
        if not images:
            continue
        wrong = student[place].copy()
        wrong[place] = 0
        other = int(wrong.argmax())
        found.append(
            ClassAnswers(
                name=name,
                images=images,
                teacher=float(teacher[place, place]) / images if teacher is not None else math.nan,
                student=float(student[place, place]) / images,
                mistaken_for=f"{names[other]} ({wrong[other]})" if wrong[other] else "",
            )
        )
    return sorted(found, key=lambda one: one.student if math.isnan(one.change) else one.change)


def classes_sheet(found: Sequence[ClassAnswers], noun: str = "images") -> Sheet:
    """All classes, or of many the worst."""
    shown = found if len(found) <= MATRIX_CLASSES else found[:WORST_CLASSES]
    titles = (noun, "teacher, %", "student, %", "difference, points")
    columns = (Column("class"), *(Column(title, numeric=True) for title in titles), Column("mostly mistaken for"))
    lines = [
        (
            one.name,
            str(one.images),
            units.percent(one.teacher),
            units.percent(one.student),
            units.MISSING if math.isnan(one.change) else units.points(one.change),
            one.mistaken_for or units.MISSING,
        )
        for one in shown
    ]
    return Sheet(columns, tuple(lines))


def classes_sentence(found: Sequence[ClassAnswers]) -> str:
    """How many classes are lost and won, and by how much the worst one is."""
    if not found or math.isnan(found[0].change):
        return ""
    lost, won = (sum(sign * one.change > 0 for one in found) for sign in (-1, 1))
    rest = len(found) - lost - won
    same = f" and equals it on {rest}" * bool(rest)
    text = f"Of {len(found)} classes the student is worse than its teacher on {lost}, better on {won}{same}."
    if lost:
        text += f" It loses most on {found[0].name}: {units.points(found[0].change)} points."
    if len(found) > MATRIX_CLASSES:
        text += f" The {WORST_CLASSES} worst are listed."
    return text


def draw_matrices(predictions: TestPredictions) -> list[ConfusionMatrix]:
    """Of the student and of the teacher; none for more than `MATRIX_CLASSES` classes, or without labels."""
    if len(predictions.class_names) > MATRIX_CLASSES or not predictions.labelled:
        return []
    wanted = [("student", predictions.student), ("teacher", predictions.teacher)]
    return [draw_matrix(predictions, title, answers) for title, answers in wanted if answers]


def draw_matrix(predictions: TestPredictions, title: str, answers: Sequence[int]) -> ConfusionMatrix:
    counts, names = count_answers(predictions, answers), predictions.class_names
    lines = [
        [
            MatrixCell(
                images=int(counts[true, answer]),
                share=round(100 * int(counts[true, answer]) / max(1, int(counts[true].sum()))),
                right=true == answer,
                title=f"{names[true]} answered as {names[answer]}: {counts[true, answer]} {predictions.noun}",
            )
            for answer in range(len(names))
        ]
        for true in range(len(names))
    ]
    return ConfusionMatrix(title, names, lines)
