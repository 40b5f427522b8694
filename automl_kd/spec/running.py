"""The protocol of what runs a trial: where it works, what it reports, what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from automl_kd.spec.loader import LoaderOptions
from automl_kd.spec.teacher import TeacherCacheOptions
from automl_kd.spec.trial import TrialSpec


@dataclass(frozen=True, kw_only=True)
class TrialPaths:
    """Where a trial works: folders and device. Not part of what it is, so not part of its key. Paths are absolute.

    `trial` holds this trial's checkpoints; `teachers` one folder per trained teacher, named by its trial's key; `data`
    the image sets. `teacher_cache`: how far teachers' outputs are kept, below `teachers`. `loader`: how images are
    decoded that are not kept in memory. `pausable`: save a checkpoint after every epoch, because the trial may be
    paused after any. `checkpoint_minutes` (0 or more): the longest time between two checkpoints while the trial trains;
    0 saves none inside epochs. `int8`: after the last epoch the student is quantised, and its accuracy measured.
    `parent`: the file with the weights of the spec's parent, if it has one. `cuda_graphs`: launch a student's passes on
    a GPU as one record.
    """

    trial: Path
    teachers: Path
    data: Path
    device: str = "cpu"
    teacher_cache: TeacherCacheOptions = field(default_factory=lambda: TeacherCacheOptions(keep="off"))
    loader: LoaderOptions = field(default_factory=LoaderOptions)
    pausable: bool = False
    checkpoint_minutes: float = 5.0
    int8: bool = False
    parent: Path | None = None
    cuda_graphs: bool = False


REMARK_FILE = "remark.txt"
"""In a trial's folder: what its method has to say of its own search, in a sentence; absent where that is nothing."""

BEGAN_FRESH = "began_fresh"
"""The metric of a trial whose student began with drawn weights, as nothing of its parent's or `init`'s fits it."""

INT8_ACCURACY = "int8_val_accuracy"
"""The metric that `TrialPaths.int8` adds. A complete trial lacks it where its student could not be quantised."""

FailureKind = Literal["diverged", "memory", "data", "timeout", "storage", "died", "other"]
"""Of what kind a failure is: numbers not finite, out of memory, damaged or missing images, took too long, a file system
or network that failed, its process died."""

SETTLED: tuple[FailureKind, ...] = ("diverged", "timeout")
"""Kinds of failure that are known to come again: a later session repeats them only on request."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a trial. `metrics` holds the last value reported for each name.

    "stopped": the scheduler ended it early; "failed": `error` is the reason, `failure_kind` its kind. `note`: what else
    to tell the user of it, in a sentence; it is not recorded. `remark`: what the method says of its own search, as that
    it found nothing, or the trial of its student's start, in a sentence; it is.
    """

    status: Literal["complete", "stopped", "failed"]
    metrics: Mapping[str, float]
    epoch: int
    error: str = ""
    failure_kind: FailureKind | None = None
    note: str = ""
    remark: str = ""


class Report(Protocol):
    """Called after every epoch, 1, 2, ...; an epoch may be reported again after a restart.

    May raise `StopTrial`; a trial lets it pass.
    """

    def __call__(self, metrics: Mapping[str, float], *, epoch: int) -> None: ...


class Trainable(Protocol):
    """One trial, start to end; called again with the same spec and place, it continues or reports again.

    Knows nothing of Ray, Optuna or result files, and returns nothing: whatever it measures it reports.
    """

    def __call__(self, spec: TrialSpec, report: Report, paths: TrialPaths) -> None: ...
