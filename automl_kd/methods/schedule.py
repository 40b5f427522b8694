"""Runs a trial with a hyperparameter schedule, which changes its recipe and options: stage after stage.

Each call has the values of one stage and continues from the checkpoint that the one before left at its last epoch, so
any method that trains by `automl_kd.methods.base.train` can follow a schedule, and a broken trial continues within its
stage. The learning rate keeps the shape that the recipe gives it over the whole run; a stage sets its peak.

What may change, `STEADY` of a recipe and options whose field has `metadata={"live": True}`, is read anew in every
step; nothing that a checkpoint holds is shaped by it. At the start of a run, where there is no checkpoint, any field of
the recipe that does not decide what an epoch costs may be set, and what the student begins with: so a search varies
them. A population (`automl_kd.samplers.population`) finds a schedule,
which then belongs to the method found: a trial with it, from scratch and with any seed, trains as the found one did.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from automl_kd.errors import StopTrial
from automl_kd.methods.model_card import CARD, name_card
from automl_kd.space import Scalar
from automl_kd.spec import Report, Schedule, Trainable, TrialPaths, TrialSpec
from automl_kd.training.checkpoint import TRAINING_FILE, epochs_saved

RECIPE, METHOD, INIT = "recipe.", "method.", "student.init"
"""Before names of fields of a recipe, before those of options; and what a student begins with, at the start alone."""

STEADY = ("lr", "weight_decay")
"""Fields of a recipe that may change while it is followed."""


class SchedulePart(NamedTuple):
    """Epochs up to `last` with the values of `spec`."""

    spec: TrialSpec
    last: int


class StageEnd(StopTrial):
    """A stage has come to its last epoch."""


class StageReporter:
    """Passes on each epoch once, though every stage reports again what came before it; ends a stage after `last`."""

    def __init__(self, report: Report, epochs: int) -> None:
        self.report, self.epochs, self.last, self.seen = report, epochs, epochs, 0

    def __call__(self, metrics: Mapping[str, float], *, epoch: int) -> None:
        if epoch > self.seen:
            self.seen = epoch
            self.report(metrics, epoch=epoch)
        if self.last <= epoch < self.epochs:
            raise StageEnd


def follow(spec: TrialSpec, report: Report, paths: TrialPaths, trainable: Trainable) -> None:
    """Run `spec` by `trainable`, called with the values of each stage that is not behind the checkpoint."""
    epochs = spec.recipe.epochs
    reporter = StageReporter(report, epochs)
    ahead = min(epochs_saved(paths.trial / TRAINING_FILE) + 1, epochs)
    for part in schedule_parts(spec):
        if part.last >= ahead:
            reporter.last = part.last
            with suppress(StageEnd):
                trainable(part.spec, reporter, paths)
    if (paths.trial / CARD).exists():
        name_card(paths.trial, spec)


def schedule_parts(spec: TrialSpec) -> Iterator[SchedulePart]:
    """The stages as epochs; of two that begin with the same one, in a shorter run than theirs, the later counts."""
    epochs = spec.recipe.epochs
    starts = {round(stage.start * spec.recipe.length): stage.changes for stage in spec.schedule}
    ends = [*(start for start in starts if 0 < start < epochs), epochs]
    held: dict[str, Scalar] = dict(starts.get(0, {}))
    for last in ends:
        yield SchedulePart(turned(spec, held), last)
        held |= starts.get(last, {})


def turned(spec: TrialSpec, changes: Mapping[str, Scalar]) -> TrialSpec:
    """`spec` with the recipe and options of one stage."""
    recipe: Any = {name.removeprefix(RECIPE): value for name, value in changes.items() if name.startswith(RECIPE)}
    options, init = options_with(changes, spec.options), str(changes.get(INIT, spec.init))
    return dataclasses.replace(spec, recipe=dataclasses.replace(spec.recipe, **recipe), options=options, init=init)


def first_changes(schedule: Schedule) -> Mapping[str, Scalar]:
    """What a trial is trained with from its start on, other than its spec says."""
    return next((stage.changes for stage in schedule if stage.start == 0), {})


def options_with(changes: Mapping[str, Scalar], options: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """`options` with those that `changes` sets."""
    changed = {name.removeprefix(METHOD): value for name, value in changes.items() if name.startswith(METHOD)}
    return {**options, **changed}
