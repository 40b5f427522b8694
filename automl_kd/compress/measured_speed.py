"""How fast trials train here, measured by trials that end after a few steps, as many at once as will run at once."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from automl_kd.cluster.lasting_workers import worker_pool
from automl_kd.cluster.sessions.growing import wait_for_resources
from automl_kd.cluster.sessions.session import concurrency, device_of, session
from automl_kd.cluster.tune_runner import run_trials
from automl_kd.cluster.tune_searcher import Assignment, Curve, Metrics
from automl_kd.errors import TrialError
from automl_kd.experiment.context import ExperimentContext
from automl_kd.experiment.proposals import plain_kd
from automl_kd.experiment.stages.finals import final_spec, price_by_formula
from automl_kd.experiment.stages.lengths import images_of, length_of
from automl_kd.methods import make_method
from automl_kd.spec import Outcome, TeacherCacheOptions, TrialSpec

STEPS = (3, 12)
"""Of the shorter and the longer trials: their difference is free of what a training takes once."""

FORWARD_SHARE = 1 / 3
"""Of a step, which is a forward pass and a backward pass of twice its cost."""

TRIAL_SECONDS = 3.0
"""Taken for starting and ending a trial, beside its passes: what is read and written, and the first slow steps."""

SPEED_FOLDER = "_speed"
"""In an experiment's folder, while it is measured."""

SEED = 999_000
"""Of measured trials, which share views with no other."""


@dataclass(frozen=True, kw_only=True)
class MeasuredSpeed:
    """Seconds of one worker while all others work.

    `step`: of the student's step, for one image. `teacher`: of the teacher's pass, for one image. `images`: that KD
    trains on in an epoch, `labelled`: that training from scratch does. `validation`, `test`: images of these.
    `scratch_ratio`: epochs from scratch that cost as many multiply-adds as one epoch with the teacher's passes.
    `trial`: what each trial takes beside. `workers`: trials at once. `seconds`: that the measuring took.
    """

    step: float
    teacher: float
    images: int
    labelled: int
    validation: int
    test: int
    scratch_ratio: float
    workers: int
    trial: float = TRIAL_SECONDS
    seconds: float = 0.0

    @property
    def check(self) -> float:
        """Of validation after an epoch."""
        return self.validation * self.step * FORWARD_SHARE

    @property
    def epoch(self) -> float:
        """Of KD, whose teacher is read from the cache, with validation."""
        return self.images * self.step + self.check

    @property
    def scratch_epoch(self) -> float:
        return self.labelled * self.step + self.check

    @property
    def teacher_epoch(self) -> float:
        """Of the teacher's passes over the training images of one epoch."""
        return self.images * self.teacher

    def passes(self, epochs: float) -> float:
        """Of KD for so many epochs, and of the test at its end."""
        return epochs * self.epoch + self.test * self.step * FORWARD_SHARE


def measure_speed(context: ExperimentContext, address: str = "") -> MeasuredSpeed:
    """Train the default student of `context` for some steps, from scratch and by KD; nothing of it is kept.

    `TrialError` if none of these trials came through.
    """
    begun = time.monotonic()
    with session(address, context.experiment.trial), worker_pool() as pool:
        with wait_for_resources(context.experiment.trial, 1, context.watcher.note) as found:
            trial = dataclasses.replace(context.experiment.trial, device=found.device)
        context = dataclasses.replace(
            context, experiment=dataclasses.replace(context.experiment, trial=trial), workers=pool
        )
        workers = concurrency(trial)
        seconds = {one: time_trials(context, *one, workers) for one in [(m, s) for m in METHODS for s in STEPS]}
    batch, steps = context.experiment.recipe.batch_size, STEPS[1] - STEPS[0]
    each = {
        method: max(1e-9, (seconds[method, STEPS[1]] - seconds[method, STEPS[0]]) / steps / batch)
        for method in METHODS
    }
    return MeasuredSpeed(
        step=each["scratch"],
        teacher=max(0.0, each["kd"] - each["scratch"]),
        images=len(images_of(context, make_method("kd", {})).train),
        labelled=len(context.dataset.train),
        validation=len(context.dataset.validation),
        test=len(context.dataset.test),
        scratch_ratio=equal_ratio(context),
        workers=workers,
        seconds=time.monotonic() - begun,
    )


METHODS = ("scratch", "kd")


def equal_ratio(context: ExperimentContext) -> float:
    """Epochs from scratch whose multiply-adds are those of one epoch of KD, of the default student."""
    taught = plain_kd(context.experiment, context.baseline)
    alone = dataclasses.replace(taught, method="scratch", options={})
    return price_by_formula(context, taught) / price_by_formula(context, alone)


def time_trials(context: ExperimentContext, method: str, steps: int, workers: int) -> float:
    """Median seconds of `workers` trials at once that each make so many steps."""
    taught = plain_kd(context.experiment, context.baseline)
    proposal = taught if method == "kd" else dataclasses.replace(taught, method=method, options={})
    rows = len(images_of(context, proposal.made).train)
    length = length_of(min(1.0, steps * context.experiment.recipe.batch_size / rows))
    specs = [final_spec(context, proposal, length, SEED + number) for number in range(workers)]
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
            trials=workers,
            say=context.watcher.note,
            workers=context.workers,
        )
    if not found.seconds:
        raise TrialError(f"the speed of method {method!r} could not be measured: {found.error}")
    return median(found.seconds)


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
        self.error = ""

    def ask(self, index: int) -> Assignment | None:
        if index >= len(self.specs):
            return None
        spec = self.specs[index]
        paths = self.context.trial_paths(spec, device_of(self.context.experiment.trial))
        off = TeacherCacheOptions(keep="off")
        return Assignment(
            spec=spec, paths=dataclasses.replace(paths, trial=self.folder / spec.key, teacher_cache=off)
        )

    def on_epoch(self, _spec: TrialSpec, _metrics: Metrics, _epoch: int) -> None: ...

    def on_outcome(self, _spec: TrialSpec, outcome: Outcome, _curve: Curve) -> None:
        if outcome.status == "complete" and "seconds" in outcome.metrics:
            self.seconds.append(float(outcome.metrics["seconds"]))
        self.error = outcome.error or self.error
