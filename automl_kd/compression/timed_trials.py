"""Trials whose seconds are all that is wanted of them."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

from automl_kd.cluster.sessions.session import device_of
from automl_kd.cluster.tune_runner import run_trials
from automl_kd.cluster.tune_searcher import Assignment, Curve, Metrics
from automl_kd.errors import TrialError
from automl_kd.experiment.context import ExperimentContext
from automl_kd.spec import Outcome, TeacherCacheOptions, TrialSpec

SPEED_FOLDER = "_speed"
"""In an experiment's folder, while it is measured."""


class TimedTrials(NamedTuple):
    """Medians of trials that ran at once: seconds of the training, and of all that each took beside it."""

    seconds: float
    beside: float = 0.0


def time_trials(context: ExperimentContext, specs: Sequence[TrialSpec]) -> TimedTrials:
    """Medians of `specs`, all at once."""
    with made_aside(context.folder / SPEED_FOLDER) as folder:
        found = MeasuredTrials(context, specs, folder)
        run_trials(
            found.ask,
            on_epoch=found.on_epoch,
            on_outcome=found.on_outcome,
            resources=context.experiment.trial,
            search=None,
            epochs=1,
            scratch=folder,
            trials=len(specs),
            say=context.watcher.note,
            workers=context.workers,
        )
    if not found.seconds:
        raise TrialError(f"the speed of method {specs[0].method!r} could not be measured: {found.error}")
    return TimedTrials(median(found.seconds), median(found.beside))


@contextmanager
def made_aside(folder: Path) -> Iterator[Path]:
    """A folder that all nodes see, for as long as it is needed."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class MeasuredTrials:
    """Hands out `specs`, whose files go to a folder that is removed."""

    def __init__(self, context: ExperimentContext, specs: Sequence[TrialSpec], folder: Path) -> None:
        self.context, self.specs, self.folder = context, specs, folder
        self.seconds: list[float] = []
        self.beside: list[float] = []
        self.asked: dict[str, float] = {}
        self.error = ""

    def ask(self, index: int) -> Assignment | None:
        if index >= len(self.specs):
            return None
        spec = self.specs[index]
        paths = self.context.trial_paths(spec, device_of(self.context.experiment.trial))
        off = TeacherCacheOptions(keep="off")
        self.asked[spec.key] = time.monotonic()
        return Assignment(spec=spec, paths=dataclasses.replace(paths, trial=self.folder / spec.key, teacher_cache=off))

    def on_epoch(self, _spec: TrialSpec, _metrics: Metrics, _epoch: int) -> None: ...

    def on_outcome(self, spec: TrialSpec, outcome: Outcome, _curve: Curve) -> None:
        if outcome.status == "complete" and "seconds" in outcome.metrics:
            self.seconds.append(float(outcome.metrics["seconds"]))
            self.beside.append(time.monotonic() - self.asked[spec.key] - self.seconds[-1])
        self.error = outcome.error or self.error
