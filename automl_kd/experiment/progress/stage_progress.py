"""The progress of a stage, summed over the status of its trials: counts, cost, and what is left.

Estimates use only what was measured in this session; before the first epoch there are none.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean

from automl_kd.experiment.progress.events import StagePlan, TrialStatus


@dataclass(frozen=True, kw_only=True)
class Left:
    """The estimated rest of a stage. `seconds`: on the clock, with all its workers. `ahead_seconds`: of the
    stages after it; None if unknown. `train_macs`, `train_seconds`: of all trials that remain, side by side.
    """

    seconds: float
    ahead_seconds: float | None
    train_macs: float
    train_seconds: float


@dataclass
class Span:
    """When the measurement of a trial began, its work by then, and when its last status came."""

    begun: float
    latest: float
    before: float = 0.0


class StageProgress:
    """The trials of one stage. `clock`: seconds that only rise."""

    def __init__(self, plan: StagePlan, clock: Callable[[], float] = time.monotonic) -> None:
        self.plan, self.clock = plan, clock
        self.trials: dict[str, TrialStatus] = {}
        self.spans: dict[str, Span] = {}
        self.cold: set[str] = set()

    def notify(self, trial: TrialStatus) -> None:
        now = self.clock()
        self.trials[trial.key] = trial
        if trial.recorded:
            return
        if trial.key not in self.spans:
            self.spans[trial.key] = Span(now, now)
            # The first trials wait for workers to start, which no later one does.
            if len(self.spans) <= self.plan.workers:
                self.cold.add(trial.key)
        elif trial.key in self.cold and trial.epoch:
            self.cold.discard(trial.key)
            self.spans[trial.key] = Span(now, now, work_done(trial))
        self.spans[trial.key].latest = now

    def having(self, status: str) -> list[TrialStatus]:
        """In the order in which they began."""
        return [one for one in tuple(self.trials.values()) if one.status == status]

    @property
    def busy(self) -> int:
        """Workers that run a trial; a trial that a scheduler has paused needs none."""
        return min(len(self.having("running")), self.plan.workers)

    @property
    def best(self) -> TrialStatus | None:
        """The complete trial of highest validation accuracy that is no baseline; without any, the best that runs."""
        for status in ("complete", "running"):
            judged = [one for one in self.having(status) if one.val_accuracy is not None]
            ours = [one for one in judged if one.roles != (self.plan.reference,)]
            if ours:
                return max(ours, key=lambda one: one.val_accuracy or 0.0)
        return None

    @property
    def baseline(self) -> float | None:
        """Mean validation accuracy of the baseline's complete trials in this stage, else what is on record of it."""
        found = [one.val_accuracy for one in self.having("complete") if self.plan.reference in one.roles]
        known = [accuracy for accuracy in found if accuracy is not None]
        return fmean(known) if known else self.plan.known.get(self.plan.baseline)

    @property
    def train_macs(self) -> float:
        """Multiply-adds that the trials have taken so far, in all sessions."""
        return sum(one.train_macs for one in tuple(self.trials.values()))

    @property
    def train_seconds(self) -> float:
        """Seconds of training that the trials have taken so far, in all sessions, side by side."""
        return sum(one.seconds for one in tuple(self.trials.values()))

    def left(self) -> Left | None:
        """What remains, at the pace so far; None until an epoch was measured from its beginning to its end.

        A trial that has not begun is expected to get as far as those that have ended did on average; one that runs
        and is past that, to its end.
        """
        reported = [one for one in tuple(self.trials.values()) if one.epoch and not one.recorded]
        done = sum(work_done(one) for one in reported)
        spans = [(self.spans[one.key], work_done(one)) for one in reported]
        measured = sum(work - span.before for span, work in spans)
        if not measured:
            return None
        running, ends = self.having("running"), self.having("complete") + self.having("stopped")
        expected = fmean(trained_share(one) for one in ends) if ends else 1.0
        rests = [one.work * rest(trained_share(one), expected) for one in running]
        begun = sum(one.work for one in tuple(self.trials.values()))
        work = sum(rests) + max(0.0, self.plan.work - begun) * expected
        pace = sum(span.latest - span.begun for span, _ in spans) / measured
        workers = self.plan.workers
        return Left(
            seconds=pace * max([work / workers, *rests]),
            ahead_seconds=None if self.plan.ahead is None else pace * self.plan.ahead / workers,
            train_macs=work * sum(one.train_macs for one in reported) / done,
            train_seconds=work * sum(one.seconds for one in reported) / done,
        )


def trained_share(trial: TrialStatus) -> float:
    return min(1.0, trial.epoch / (trial.length or trial.epochs))


def work_done(trial: TrialStatus) -> float:
    return trial.work * trained_share(trial)


def rest(reached: float, expected: float) -> float:
    """The share of a running trial that is still to come."""
    return expected - reached if reached < expected else 1.0 - reached
