"""Students of an archive: those that were trained, each with all its trainings of one kind, and those only scored."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from automl_kd import storage
from automl_kd.results.archive.limits import Costs, megabytes_of

if TYPE_CHECKING:
    from automl_kd.results.store.row import Status

PLAIN_ROLES = {"default-kd", "default-scratch"}
"""Roles of finals of the student that one would take without a search."""

FROM_PARENT = "parent"
"""The `init` of a student that began with weights of another one of the search."""

STUDENT_WEIGHTS = "student.pt"
"""The file of a trial's folder that a training leaves which came to its end."""


@dataclass(frozen=True, kw_only=True)
class StudentCosts:
    """`latency_ms`: median over the trainings of its architecture on one device, None where none was measured."""

    params: int | None
    macs: int | None
    latency_ms: float | None = None

    @property
    def by_name(self) -> Costs:
        return {
            "params": self.params,
            "macs": self.macs,
            "latency_ms": self.latency_ms,
            "size_mb": megabytes_of(self.params),
        }


@dataclass(frozen=True, kw_only=True)
class TrainedStudent:
    """One architecture taught in one way for one length, by all seeds that it was trained with.

    `keys`: its trials, the best on validation first; `val_accuracies` and `test_accuracies` in their order, the latter
    only those that were measured. `status`: "complete", or "stopped" by a scheduler. `epochs`: trained for;
    `full_epochs`: of a training in full; `full`: whether these are. `roles`: of finals, what they stand for.
    `val_images`: that the accuracies on validation are of, None where it was not recorded, or they are another metric.
    """

    folder: Path
    space: str
    architecture_id: str
    values_json: str
    student: str
    method: str
    options_json: str
    init: str | None
    roles: tuple[str, ...]
    keys: tuple[str, ...]
    status: Status
    epochs: float
    full_epochs: float
    full: bool
    val_accuracies: tuple[float, ...]
    test_accuracies: tuple[float, ...]
    val_images: int | None
    costs: StudentCosts

    @property
    def val_accuracy(self) -> float:
        """Mean over its trainings, as a fraction: the only number by which students are chosen."""
        return fmean(self.val_accuracies)

    @property
    def test_accuracy(self) -> float | None:
        return fmean(self.test_accuracies) if self.test_accuracies else None

    @property
    def seeds(self) -> int:
        return len(self.val_accuracies)

    @property
    def standard_error(self) -> float:
        """Of its mean validation accuracy: of the seeds' mean and of the images, as independent sources.

        sqrt(s^2 / n + p (1 - p) / N) with the seeds' deviation s, n seeds, accuracy p and N validation images. One seed
        has no deviation, and images that were not counted add nothing; nor do they where p is another metric, which is
        no share of them. Students share their validation images, so the part of the images is rather too large for a
        difference of two.
        """
        p = self.val_accuracy
        of_seeds = stdev(self.val_accuracies) ** 2 / self.seeds if self.seeds > 1 else 0.0
        of_images = p * (1 - p) / self.val_images if self.val_images else 0.0
        return math.sqrt(of_seeds + of_images)

    @property
    def plain(self) -> bool:
        """Whether it is the default student by plain KD or from scratch, also where a search found just that."""
        return not PLAIN_ROLES.isdisjoint(self.roles)

    @property
    def inherited(self) -> bool:
        """Whether it is no student trained in full because it began with its parent's weights."""
        return self.init == FROM_PARENT and not self.full

    @property
    def lacks_epochs(self) -> bool:
        return not self.full and self.epochs < self.full_epochs - 0.01

    @property
    def standing(self) -> tuple[bool, bool, float]:
        """How far its training went. Only students of equal standing compare by accuracy; the greater goes first."""
        return (True, True, 0.0) if self.full else (False, self.status == "complete", self.epochs)

    @property
    def identity(self) -> tuple[str, str]:
        return self.space, self.architecture_id

    @cached_property
    def trial(self) -> Path | None:
        """The folder of its best training on validation that left weights; None if none did.

        Weights in a bucket are not fetched to look: the description beside them stands for them.
        """
        for key in self.keys:
            place = self.folder / "trials" / key
            in_bucket = storage.address(place) != str(place)
            if (place / ("student.json" if in_bucket else STUDENT_WEIGHTS)).exists():
                return place
        return None


@dataclass(frozen=True, kw_only=True)
class ScoredStudent:
    """An architecture that proxies scored. `rank`: mean share of the others that a proxy puts before it, in [0, 1)."""

    folder: Path
    space: str
    architecture_id: str
    student: str
    dataset: str
    teacher: str | None
    rank: float
    proxies: tuple[str, ...]
    costs: StudentCosts

    @property
    def identity(self) -> tuple[str, str]:
        return self.space, self.architecture_id
