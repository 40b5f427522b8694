"""Writes the rows of a search as an Optuna study beside them, for `optuna-dashboard`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from automl_kd.cluster.tune_searcher import Metrics
from automl_kd.experiment.context import ExperimentContext
from automl_kd.experiment.records import replays
from automl_kd.samplers.study import StudyFile, Tried
from automl_kd.space import Architecture
from automl_kd.spec import Outcome

STUDY = "study.journal"


@dataclass
class OptunaJournal:
    """Add a recorded outcome. A failure of the study is noted once, and the search goes on."""

    context: ExperimentContext
    file: StudyFile
    broken: bool = False

    @staticmethod
    def of(context: ExperimentContext, points: Sequence[Architecture]) -> OptunaJournal:
        """The study as the rows have it; `points` are the proposals."""
        mirror = OptunaJournal(
            context, StudyFile(context.folder / STUDY, context.experiment.name, context.searched, context.objectives)
        )
        rows, curves = context.table.read(), context.table.curves()
        ours = rows[(rows["trial_kind"] == "search") & rows["proposal"].notna()]
        reported = replays(ours, curves[curves["trial_kind"] == "search"])
        tried = {}
        for row in ours.sort_values("proposal").to_dict("records"):
            index = int(row["proposal"])
            if index < len(points):
                followed = dict(enumerate(reported.get(row["key"], ()), start=1))
                tried[row["key"]] = mirror.tried(index, points[index], row["status"], followed, error_in(row))
        mirror.attempt(lambda: mirror.file.begin(tried))
        return mirror

    def add(self, index: int, point: Architecture, key: str, outcome: Outcome, curve: Mapping[int, Metrics]) -> None:
        # A failed trial is put on record without its curve, as the rows give it back.
        followed = {} if outcome.status == "failed" else curve
        tried = self.tried(index, point, outcome.status, followed, outcome.error)
        self.attempt(lambda: self.file.add(key, tried))

    def tried(self, index: int, point: Architecture, status: str, curve: Mapping[int, Metrics], error: str) -> Tried:
        names = [one.name for one in self.context.objectives]
        last = curve[max(curve)] if curve else {}
        notes: dict[str, str | int] = {"proposal": index, **({"error": error} if error else {})}
        return Tried(
            point,
            status,
            tuple(float(last[name]) for name in names) if all(name in last for name in names) else None,
            {epoch: float(metrics[names[0]]) for epoch, metrics in curve.items() if names[0] in metrics},
            notes,
        )

    def attempt(self, act: Callable[[], None]) -> None:
        if self.broken:
            return
        try:
            act()
        except (OSError, RuntimeError, ValueError) as error:
            self.broken = True
            reason = f"{type(error).__name__}: {error}"
            self.context.watcher.note(
                f"{STUDY} could not be written ({reason}); the next session makes it from the rows"
            )


def error_in(row: Mapping[Any, Any]) -> str:
    return "" if pd.isna(row["error"]) else str(row["error"])
