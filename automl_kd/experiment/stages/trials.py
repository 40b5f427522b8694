"""Runs a fixed list of trials: the teacher, the finalists and the baselines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

import pandas as pd

from automl_kd.cluster.sessions.session import device_of
from automl_kd.cluster.tune_runner import run_trials
from automl_kd.cluster.tune_searcher import Assignment, Curve, Metrics
from automl_kd.config import SEEDS
from automl_kd.experiment.context import ExperimentContext
from automl_kd.experiment.progress.reporter import Billing, ProgressReporter, plan_of
from automl_kd.experiment.records import is_settled, points_of, row_of
from automl_kd.methods.model_card import student_label
from automl_kd.results.store.folder import require_storage
from automl_kd.results.store.row import Role, TrialKind, readings_of
from automl_kd.spec import Outcome, ReadingName, TrialSpec


class Entrant(NamedTuple):
    """A trial and what it stands for; in a comparison of methods also the fraction of the full compute it gets.

    `readings`: of a final, the readings of the comparison that it serves, each with the fraction of what is equal.
    """

    role: Role
    spec: TrialSpec
    compute_fraction: float | None = None
    readings: Mapping[ReadingName, float] = MappingProxyType({})

    @property
    def readings_json(self) -> str | None:
        return json.dumps(dict(self.readings)) if self.readings else None


def carry_out_all(
    context: ExperimentContext,
    entrants: Sequence[Entrant],
    *,
    trial_kind: TrialKind,
    title: str,
    again: bool = False,
    ahead: float | None = None,
) -> None:
    """Run every trial that has no complete row yet, each once even if it stands for several roles; record all.

    Those that failed and would fail again are left alone, unless `trial.retry_failed` asks for them.

    `again`: also those that have one, because what they left behind is gone. `ahead`: what follows, as in `Plan`.
    """
    missing = list(entrants) if again else unrecorded(context, entrants, trial_kind)
    if not missing:
        return
    listed = ListedTrials(context, missing, trial_kind, title)
    context.watcher.stage(title, sum(spec.recipe.epochs for spec in listed.specs), "epochs")
    billings = bill(context, missing)
    work = sum(one.work for one in billings.values())
    context.watcher.plan(
        plan_of(context, trials=len(billings), work=work, ahead=ahead, compared=trial_kind != "teacher")
    )
    reporter = ProgressReporter(
        context.watcher,
        lambda spec: billings[spec.key],
        ask=listed.ask,
        on_epoch=listed.on_epoch,
        on_outcome=listed.on_outcome,
    )
    run_trials(
        reporter.ask,
        on_epoch=reporter.on_epoch,
        on_outcome=reporter.on_outcome,
        resources=context.experiment.trial,
        search=None,
        epochs=max(spec.recipe.epochs for spec in listed.specs),
        scratch=context.folder,
        trials=len(listed.specs),
        say=context.watcher.note,
        workers=context.workers,
    )


class ListedTrials:
    """Hands out the trials of a list, each once, and records what becomes of them."""

    def __init__(
        self, context: ExperimentContext, entrants: Sequence[Entrant], trial_kind: TrialKind, title: str
    ) -> None:
        self.context, self.entrants, self.trial_kind, self.title = context, entrants, trial_kind, title
        self.specs = list({one.spec.key: one.spec for one in entrants}.values())
        self.device = device_of(context.experiment.trial)
        self.started = {spec.key: datetime.now(UTC) for spec in self.specs}
        self.reached = dict.fromkeys(self.started, 0)

    def ask(self, index: int) -> Assignment | None:
        if index >= len(self.specs):
            return None
        spec = self.specs[index]
        self.started[spec.key] = datetime.now(UTC)
        return Assignment(spec=spec, paths=self.context.trial_paths(spec, self.device))

    def on_epoch(self, spec: TrialSpec, metrics: Metrics, epoch: int) -> None:
        self.reached[spec.key] = epoch
        self.context.watcher.step(sum(self.reached.values()), note_of(metrics))

    def on_outcome(self, spec: TrialSpec, outcome: Outcome, curve: Curve) -> None:
        context = self.context
        require_storage(context.folder, failed=outcome.failure_kind == "storage")
        made = partial(
            row_of,
            context,
            spec,
            outcome,
            trial_kind=self.trial_kind,
            started=self.started[spec.key],
            device=self.device,
        )
        for one in self.entrants:
            if one.spec.key == spec.key:
                row = made(role=one.role, compute_fraction=one.compute_fraction, readings_json=one.readings_json)
                context.table.append(row, points_of(curve))
        context.note_outcome(outcome)
        if outcome.status == "failed":
            context.watcher.note(f"a trial of {self.title} failed: {outcome.error}")


def unrecorded(context: ExperimentContext, entrants: Sequence[Entrant], trial_kind: TrialKind) -> list[Entrant]:
    """Those without a row that is final; failures that would come again are, unless they shall be tried again."""
    rows = context.table.read()
    done = rows[rows["trial_kind"] == trial_kind]
    over = done["status"] == "complete"
    if not context.experiment.trial.retry_failed:
        over |= is_settled(done)
    return [one for one in entrants if not is_recorded(done[over], one)]


def bill(context: ExperimentContext, entrants: Sequence[Entrant]) -> dict[str, Billing]:
    """What the watcher shows of each trial, by its key."""
    found: dict[str, Billing] = {}
    for role, spec, compute_fraction, _ in entrants:
        label = (
            f"{student_label(spec, context.trial_paths(spec, 'cpu').trial)}, {spec.method}, seed {spec.seed % SEEDS}"
        )
        roles = found[spec.key].roles if spec.key in found else ()
        found[spec.key] = Billing(
            label=label, roles=(*roles, role), work=1.0 if compute_fraction is None else compute_fraction
        )
    return found


def is_recorded(rows: pd.DataFrame, one: Entrant) -> bool:
    """Whether `rows` hold it, for the same readings and shares: the same trial may stand for others by now."""
    ours = rows[(rows["role"] == one.role) & (rows["key"] == one.spec.key)]
    share = ours["compute_fraction"].fillna(1.0)
    if one.compute_fraction is not None:
        ours = ours[share == one.compute_fraction]
    if not one.readings:
        return len(ours) > 0
    served = [readings_of(text, whole) for text, whole in zip(ours["readings_json"], share[ours.index], strict=True)]
    return dict(one.readings) in served


def note_of(metrics: Metrics) -> str:
    return f"validation {metrics['val_accuracy']:.1%}" if "val_accuracy" in metrics else ""
