"""Whose weights a proposed student begins with, in a search whose students inherit.

The parent of a proposal is the student trained so far whose values differ from its own in the fewest places; of equals
the one best on validation, then the earliest. So it is a mutant's own parent, or a nearer relative, and every sampler
can inherit. Real et al. 2017 (arXiv:1703.01041, large-scale evolution) let mutants keep weights of equal shape; taking
slices of others, and the nearest of all students, are ours.

What was chosen is on disk before the proposal is: a continued search trains each student from the same parent.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from automl_kd import files, storage
from automl_kd.errors import ResultError
from automl_kd.space import Architecture
from automl_kd.spec import BEGAN_FRESH, Outcome, Parent, TrialSpec, read_parent

FILE = "parents.jsonl"


@dataclass(frozen=True)
class Trained:
    """A student that can give its weights. `macs`: multiply-adds of its training and of all its ancestors'."""

    index: int
    parent: Parent
    val_accuracy: float
    macs: float

    def rank(self, student: Architecture) -> tuple[int, float, int]:
        return differing_values(self.parent.architecture, student), -self.val_accuracy, self.index


@dataclass
class Parents:
    """Parents by the index of a proposal, None where no student was trained before it, and who could be one."""

    path: Path
    chosen: dict[int, Parent | None]
    trained: dict[str, Trained] = field(default_factory=dict)

    @staticmethod
    def open(folder: Path, rows: pd.DataFrame) -> Parents:
        """`rows`: of the search so far, which hold what trials began with, too."""
        found = {
            int(index): TrialSpec.from_json(text).parent
            for index, text in zip(rows["proposal"], rows["spec_json"], strict=True)
            if pd.notna(index) and isinstance(text, str)
        }
        path = folder / FILE
        try:
            lines = [json.loads(line) for line in files.whole_lines(path)]
            found |= {int(one["proposal"]): read_parent(one["parent"]) for one in lines}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ResultError(
                f"{path} is damaged ({error}); 'automl-kd doctor {folder} --repair' repairs it"
            ) from error
        return Parents(path, found)

    def choose(self, index: int, student: Architecture) -> None:
        """The parent of a new proposal, recorded."""
        best = min(self.trained.values(), key=lambda one: one.rank(student), default=None)
        self.chosen[index] = best.parent if best else None
        record = {"key": best.parent.key, "architecture": best.parent.architecture.as_dict()} if best else None
        storage.append_line(self.path, json.dumps({"proposal": index, "parent": record}))

    def ancestor_macs(self, spec: TrialSpec) -> float:
        """Multiply-adds of the training of all of a trial's ancestors; 0 without one."""
        known = self.trained.get(spec.parent.key) if spec.parent else None
        return known.macs if known else 0.0

    def learn(self, index: int, spec: TrialSpec, outcome: Outcome) -> None:
        """Only a trial that came to its end has left weights."""
        if outcome.status == "complete":
            accuracy, own = outcome.metrics["val_accuracy"], outcome.metrics.get("train_macs", 0.0)
            before = 0.0 if BEGAN_FRESH in outcome.metrics else self.ancestor_macs(spec)
            self.trained[spec.key] = Trained(index, Parent(spec.key, spec.architecture), accuracy, own + before)


def differing_values(one: Architecture, other: Architecture) -> int:
    """In how many values two students of a space differ."""
    first, second = one.as_dict(), other.as_dict()
    return sum(first.get(name) != second.get(name) for name in first.keys() | second.keys())
