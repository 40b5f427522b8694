"""Progress events of an experiment, and the protocol of those who watch them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from automl_kd.data.load_progress import UNITS
from automl_kd.spec import require

LOADING_UNIT = "images"
LOADING_UNITS = frozenset({LOADING_UNIT, *UNITS.values()})
"""The units of stages in which images are loaded: they come before an experiment is checked."""


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """The plan of a stage of trials. Work is counted in trainings of full length.

    `trials`, `work`: of all its trials together, at most. `workers`: trials that may run at once.
    `ahead`: work of the stages that follow; None if unknown yet.
    `reference`: the role whose trials are the baseline, `baseline` what it is for people. `known`: validation
    accuracies that are on record when the stage begins, by what they are of; the baseline's under `baseline`.
    """

    trials: int
    work: float
    workers: int
    ahead: float | None = None
    reference: str = ""
    baseline: str = ""
    known: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(min(self.trials, self.workers) >= 1, f"a stage needs trials and workers, got {self}")
        require(self.work > 0, f"work must be above 0, got {self.work}")


@dataclass(frozen=True, kw_only=True)
class TrialStatus:
    """The status of a trial of the current stage; each status replaces the one before.

    A trial is "running" from when it is given to a worker, which may have to start first; `epoch` is the last one that
    it reported, of `epochs`. `length`: epochs with the fraction of the last one; 0 for whole ones. `number`: its place
    in the stage, from 0. `roles`: what it stands for. `work`: of the whole trial. `val_accuracy`, `train_macs`,
    `seconds`: as last reported, of the training so far. `recorded`: it was carried out in an earlier session.
    """

    key: str
    number: int
    label: str
    roles: tuple[str, ...] = ()
    status: Literal["running", "complete", "stopped", "failed"] = "running"
    epoch: int = 0
    epochs: int
    length: float = 0.0
    work: float = 1.0
    val_accuracy: float | None = None
    train_macs: float = 0.0
    seconds: float = 0.0
    recorded: bool = False
    error: str = ""


class Watcher(Protocol):
    """Receives progress events, in the process that the user started. Methods must not raise."""

    def stage(self, title: str, total: int, unit: str = "steps") -> None:
        """A stage of `total` steps begins, each a `unit` (in the plural); the stage before it has ended."""

    def step(self, done: int, note: str = "") -> None:
        """`done` steps of the current stage are done."""

    def note(self, text: str) -> None:
        """A line that stays on the screen."""

    def plan(self, plan: StagePlan) -> None:
        """The stage that has just begun consists of trials."""

    def trial(self, trial: TrialStatus) -> None:
        """A trial of the planned stage began, finished an epoch, or ended. Called often: must return at once."""


class Silent:
    """Watches nothing."""

    def stage(self, title: str, total: int, unit: str = "steps") -> None: ...

    def step(self, done: int, note: str = "") -> None: ...

    def note(self, text: str) -> None: ...

    def plan(self, plan: StagePlan) -> None: ...

    def trial(self, trial: TrialStatus) -> None: ...
