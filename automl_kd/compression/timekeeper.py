"""Keeps a compression within its hours: ends the search in time, and makes the finals as long as there is time for."""

from __future__ import annotations

import dataclasses
import time

from automl_kd.compression.kept_plan import KeptPlan
from automl_kd.compression.measured_speed import FORWARD_SHARE, MeasuredSpeed
from automl_kd.compression.plan import (
    FEWEST_TRIALS,
    CompressPlan,
    FinalsPlan,
    finals_seconds,
    plan_finals,
    scaled_speed,
)
from automl_kd.config import Finalists
from automl_kd.experiment.context import ExperimentContext
from automl_kd.experiment.progress.events import StagePlan, TrialStatus, Watcher
from automl_kd.results import units

ACCOUNT_SECONDS = 15.0
"""The longest time that a kill makes the account forget."""

PACE_TRIALS = 3
"""Complete trials whose pace stands for that of the found student."""

FASTEST = 20
"""A step that seems so many times as fast as the default student's is not believed."""


class Timekeeper:
    """A `Steering` and a `Watcher`, which hands all events on to another one and counts the seconds of each stage."""

    def __init__(self, kept: KeptPlan, hours: float, watcher: Watcher) -> None:
        self.kept, self.hours, self.watcher = kept, hours, watcher
        self.name = "preflight"
        self.since = self.saved = time.monotonic()

    @property
    def plan_made(self) -> CompressPlan:
        assert self.kept.plan is not None  # made before anything is trained
        return self.kept.plan

    @property
    def left(self) -> float:
        """Seconds."""
        self.count()
        return self.hours * 3600 - self.kept.seconds

    def begin(self, name: str) -> None:
        """A stage of the account begins."""
        self.count()
        self.name = name
        if self.kept.plan is not None:
            self.save()

    def count(self) -> None:
        now = time.monotonic()
        self.kept.spent[self.name] = self.kept.spent.get(self.name, 0.0) + now - self.since
        self.since = now

    def save(self) -> None:
        self.kept.save()
        self.saved = time.monotonic()

    def tick(self) -> None:
        self.count()
        if time.monotonic() - self.saved > ACCOUNT_SECONDS and self.kept.plan is not None:
            self.save()

    def may_propose(self, context: ExperimentContext, begun: int) -> bool:
        """While a trial more leaves the time of the finals, and for the first few trials in any case.

        That is what they were planned to take, or the least comparison of the students that have done best so far, each
        trained as long as is asked for, or no shorter than in the search: these may cost more than was planned with.
        """
        if self.kept.finals is not None or begun < FEWEST_TRIALS:
            return self.kept.finals is None
        plan, speed = self.plan_made, self.found_speed(context)
        least = plan_finals(speed, 0.0, plan.epochs, seeds=self.asked["seeds"])
        length = self.asked["epochs"] or plan.epochs
        finals = max(plan.finals.seconds, finals_seconds(speed, least.seeds, least.count, length))
        trial = scaled_speed(speed, speed.size, speed.pace).passes(plan.epochs) + speed.trial
        return self.left - plan.reserve - finals > trial

    @property
    def asked(self) -> dict[str, int]:
        """The user's numbers for the finals, 0 where there are none."""
        return {name: int(self.kept.request.get(name, 0)) for name in ("epochs", "seeds")}

    def found_speed(self, context: ExperimentContext) -> MeasuredSpeed:
        assert self.kept.speed is not None  # measured before anything is trained
        return speed_of_found(context, self.kept.speed)

    def settle_finals(self, context: ExperimentContext) -> Finalists:
        """As long as what is left allows, by what the trials of the search took; as before once it is settled."""
        if self.kept.finals is None:
            self.kept.finals = self.fit_finals(context)
        self.begin("finals")
        finals = self.kept.finals
        context.watcher.note(
            f"finals of {units.some(finals.epochs, 'epoch')} with {units.some(finals.seeds, 'seed')}, for which about "
            f"{units.duration(finals.seconds)} are set aside"
        )
        return finals.applied(context.experiment.finalists)

    def fit_finals(self, context: ExperimentContext) -> FinalsPlan:
        plan, speed = self.plan_made, self.found_speed(context)
        fitting = plan_finals(speed, max(0.0, self.left - plan.reserve), plan.epochs, **self.asked)
        if fitting.epochs:
            return fitting
        # No time for one is left, and 0 would mean the recipe's.
        seconds = finals_seconds(speed, fitting.seeds, fitting.count, 1)
        return dataclasses.replace(fitting, epochs=1, seconds=seconds)

    def stage(self, title: str, total: int, unit: str = "steps") -> None:
        self.tick()
        self.watcher.stage(title, total, unit)

    def step(self, done: int, note: str = "") -> None:
        self.tick()
        self.watcher.step(done, note)

    def note(self, text: str) -> None:
        self.watcher.note(text)

    def plan(self, plan: StagePlan) -> None:
        self.watcher.plan(plan)

    def trial(self, trial: TrialStatus) -> None:
        self.tick()
        self.watcher.trial(trial)


def speed_of_found(context: ExperimentContext, speed: MeasuredSpeed) -> MeasuredSpeed:
    """`speed` with the size and pace of the students that the search has found, by the seconds of their trainings."""
    rows = context.table.read()
    ours = rows[(rows["trial_kind"] == "search") & (rows["status"] == "complete")]
    best = ours.sort_values("val_accuracy", ascending=False).head(PACE_TRIALS)
    if best.empty:
        return speed
    teacher = best["teacher_passes"].fillna(0.0) * context.experiment.recipe.batch_size * speed.teacher
    images = speed.images + speed.validation * FORWARD_SHARE
    steps = (best["seconds"] - teacher) / best["epochs_done"] / images
    size = float(best["macs"].mean()) / context.cost(context.baseline).macs
    return dataclasses.replace(speed, size=size, pace=max(float(steps.mean()) / speed.step, 1 / FASTEST) / size)
