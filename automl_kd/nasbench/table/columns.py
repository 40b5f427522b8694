"""Accuracy columns of the NAS-Bench-201 table, each of one role: to choose by, or to report on.

The role follows from the name: `{dataset}_[trainhalf_]{split}_acc_{epochs}[_s{seed}]`. A validation accuracy chooses, a
test accuracy reports. One exception, `cifar10_trainhalf_test_acc_200_s888`, is what the field distributes as validation
accuracy although it is the test accuracy of one seed: it chooses, but only when asked for by this full name, and says
what it is. Since no column has both roles, nothing can be chosen by what it is reported on. Accuracies are fractions in
[0, 1], as everywhere in this project, though the files hold percent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from automl_kd.errors import ConfigError, UnknownNameError

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]

TABLE_DATASETS = ("cifar10", "cifar100", "imagenet16")
VALIDATION_LIKE = "cifar10_trainhalf_test_acc_200_s888"
"""Test accuracy that chooses when asked for by name."""

PATTERN = re.compile(r"(cifar100|cifar10|imagenet16)_(trainhalf_)?(valid|test)_acc_(\d+)(?:_s(\d+))?")
CAVEAT = (
    "trained on half of the training images, measured on the test images; it serves as validation by the field's custom"
)


@dataclass(frozen=True)
class AccuracyName:
    """The parts of an accuracy column's name. `seed` is None for the mean over the official seeds of that length."""

    text: str
    dataset: str
    split: str
    epochs: int
    seed: int | None
    trainhalf: bool

    @property
    def chooses(self) -> bool:
        return self.split == "valid" or self.text == VALIDATION_LIKE

    @property
    def half(self) -> bool:
        """Whether training saw half of the training images: CIFAR-10's other half is its validation set."""
        return self.trainhalf or (self.dataset == "cifar10" and self.split == "valid")

    @property
    def statement(self) -> str:
        """What it is, in words, for the head of a result."""
        seeds = "mean over the official seeds" if self.seed is None else f"seed {self.seed} only"
        split = "validation" if self.split == "valid" else "test"
        caveat = f" ({CAVEAT})" if self.text == VALIDATION_LIKE else ""
        return f"{self.text}: {split} accuracy on {self.dataset} after {self.epochs} epochs, {seeds}{caveat}"


def parse_column(name: str) -> AccuracyName:
    """Parse `name`; raise `UnknownNameError` if it is not the name of an accuracy."""
    found = PATTERN.fullmatch(name)
    if found is None:
        raise UnknownNameError(
            f"{name!r} is not the name of an accuracy column; write it as cifar10_valid_acc_12, with dataset "
            f"({', '.join(TABLE_DATASETS)}), split (valid, test) and epochs"
        )
    dataset, trainhalf, split, epochs, seed = found.groups()
    return AccuracyName(
        text=name,
        dataset=dataset,
        split=split,
        epochs=int(epochs),
        seed=int(seed) if seed else None,
        trainhalf=bool(trainhalf),
    )


@dataclass(frozen=True, eq=False)
class Choosing:
    """An accuracy to choose by. `values`: one fraction for each row of the table, read-only, without gaps."""

    accuracy: AccuracyName
    values: Reals

    def __post_init__(self) -> None:
        if not self.accuracy.chooses:
            raise ConfigError(f"{self.name} is a test accuracy, for reports only; choose by a validation accuracy")
        if gaps := int(np.isnan(self.values).sum()):
            raise ConfigError(
                f"{self.name} has no value for {gaps} of {len(self.values)} architectures, so it cannot choose; "
                "choose by one without gaps"
            )

    @property
    def name(self) -> str:
        return self.accuracy.text

    def prefer(self, rows: Integers) -> Integers:
        """Of each line of `rows` (any shape, the last axis being compared), the row that this accuracy prefers.

        The first of equals. One line gives an array without axes.
        """
        places = self.values[rows].argmax(axis=-1)
        found: Integers = np.take_along_axis(rows, places[..., None], axis=-1)[..., 0]
        return found


@dataclass(frozen=True, eq=False)
class Reporting:
    """An accuracy to report on. `values`: one fraction for each row of the table, read-only; NaN where unknown."""

    accuracy: AccuracyName
    values: Reals

    def __post_init__(self) -> None:
        if self.accuracy.chooses:
            raise ConfigError(
                f"{self.name} is an accuracy to choose by; report on {self.accuracy.dataset}_test_acc_200 instead"
            )

    @property
    def name(self) -> str:
        return self.accuracy.text

    @cached_property
    def best(self) -> float:
        """The highest value of all rows."""
        return float(np.nanmax(self.values))

    def regret(self, rows: Integers) -> Reals:
        """How far each of `rows` is below the best, in the shape of `rows`; at least 0."""
        below: Reals = self.best - self.values[rows]
        return below


@dataclass(frozen=True, eq=False)
class Yardsticks:
    """What a search is given and what it is judged by: two columns of one dataset, whose roles cannot be exchanged."""

    choosing: Choosing
    reporting: Reporting

    def __post_init__(self) -> None:
        if not isinstance(self.choosing, Choosing) or not isinstance(self.reporting, Reporting):
            raise TypeError(
                "Yardsticks take a Choosing and a Reporting, in this order; got "
                f"{type(self.choosing).__name__} and {type(self.reporting).__name__}"
            )
        if self.choosing.accuracy.dataset != self.reporting.accuracy.dataset:
            raise ConfigError(
                f"{self.choosing.name} and {self.reporting.name} are of two datasets; take both of one dataset"
            )

    @property
    def statement(self) -> str:
        """One sentence for the head of every result."""
        return f"Chosen by {self.choosing.accuracy.statement}. Reported on {self.reporting.accuracy.statement}."
