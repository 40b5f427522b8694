"""Sentences on the teacher: its accuracy, and a warning if it knows no more than chance.

A network that knows nothing of the classes is right, at best, as often as one that always names the largest of them:
with probability s on each of n independent images, s being that class's share. So if as many right answers as the
teacher gave are not rare under the binomial distribution of n and s, nothing shows that it knows more. Another metric
than accuracy counts no right answers, so nothing is concluded from it: its sentence names it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd
from scipy.special import bdtr, bdtrc

from automl_kd.results import units
from automl_kd.results.store.row import FROM_FILE

ACCURACY = "accuracy"
"""The metric that counts right answers."""

RARE = 0.001
"""A chance below which something is called rare: the question is asked of every teacher, and few ask it again."""


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """`accuracy`: on validation. `images`, `largest`: how many these are, and the share of the largest class.

    `metric`: what stands in place of accuracy, or "accuracy"; of another one `largest` is NaN. `test`: accuracy on
    test; `params`, `macs`: its size, and multiply-adds for one of its images; NaN where not known.
    """

    label: str
    from_file: bool
    accuracy: float
    images: int
    largest: float
    metric: str = ACCURACY
    test: float = math.nan
    params: float = math.nan
    macs: float = math.nan

    @property
    def title(self) -> str:
        return f"the teacher ({self.label}{', from a file' * self.from_file})"

    @property
    def right(self) -> int:
        return round(self.accuracy * self.images)


def teacher_of(rows: pd.DataFrame) -> Teacher | None:
    """The teacher of one experiment; None if it was not measured, or by an earlier version, which counted no images."""
    known = rows[(rows["trial_kind"] == "teacher") & (rows["status"] == "complete")]
    known = known.assign(metric=known["metric"].fillna(ACCURACY)).dropna(subset=["val_accuracy", "val_images"])
    known = known[known["val_majority_fraction"].notna() | (known["metric"] != ACCURACY)]
    if known.empty:
        return None
    row = known.iloc[-1]
    counted = row["metric"] == ACCURACY
    return Teacher(
        label=str(row["student"]),
        from_file=row["method"] == FROM_FILE,
        accuracy=float(row["val_accuracy"]),
        images=int(row["val_images"]),
        largest=float(row["val_majority_fraction"]) if counted else math.nan,
        metric=str(row["metric"]),
        test=float(row["test_accuracy"]),
        params=float(row["params"]),
        macs=float(row["macs"]),
    )


def accuracy_of(teacher: Teacher | None) -> str:
    """How good it is and what it costs, in a sentence; empty if that is not known."""
    if teacher is None:
        return ""
    text = f"{upper(teacher.title)} reaches {units.percent(teacher.accuracy)} % on validation"
    if not math.isnan(teacher.test):
        text += f" and {units.percent(teacher.test)} % on test"
    if teacher.metric != ACCURACY:
        text += f" by {units.METRICS.get(teacher.metric, teacher.metric)}"
    if not math.isnan(teacher.params + teacher.macs):
        size, cost = units.format_count(teacher.params), units.format_count(teacher.macs)
        text += f"; it has {size} parameters and takes {cost} multiply-adds in a forward pass"
    return f"{text}."


def warning(teacher: Teacher | None, scratch: float | None = None) -> str:
    """Warn that no gain can come from this teacher; empty if nothing speaks against it.

    `scratch`: validation accuracy of a student that had no teacher.
    """
    if teacher is None or teacher.metric != ACCURACY:
        return ""
    share = f"{units.percent(teacher.accuracy)} % of {teacher.images:,} validation examples"
    reached = f"{teacher.title} is right on {share}"
    if near_chance(teacher):
        return (
            f"Warning: {reached}, and always naming the largest class is on {units.percent(teacher.largest)} %: "
            f"nothing shows that it knows these classes, so no gain can be owed to what it knows; {advice(teacher)}."
        )
    if scratch is not None and is_below_accuracy(teacher, scratch):
        return (
            f"Warning: {reached}, fewer than a student without a teacher ({units.percent(scratch)} %); "
            f"{advice(teacher)}."
        )
    return ""


def near_chance(teacher: Teacher) -> bool:
    """Whether so many right answers are not rare where every image has the largest class's chance to be one."""
    return teacher.right == 0 or float(bdtrc(teacher.right - 1, teacher.images, teacher.largest)) > RARE


def is_below_accuracy(teacher: Teacher, accuracy: float) -> bool:
    """Whether so few right answers are rare for a network of this accuracy."""
    return float(bdtr(teacher.right, teacher.images, accuracy)) < RARE


def advice(teacher: Teacher) -> str:
    if teacher.from_file:
        return "check its weights, the order of its classes and how its training images were normalised"
    return "train it longer, or by another teacher.recipe"


def upper(text: str) -> str:
    return text[:1].upper() + text[1:]
