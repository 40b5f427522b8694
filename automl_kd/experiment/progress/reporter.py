"""The progress reporter: passes the status of every trial of a stage on to the watcher."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pandas as pd

from automl_kd.cluster.sessions.session import concurrency
from automl_kd.cluster.tune_searcher import Assignment, Curve, Metrics
from automl_kd.config import Experiment
from automl_kd.experiment.context import ExperimentContext
from automl_kd.experiment.progress.events import StagePlan, TrialStatus, Watcher
from automl_kd.experiment.proposals import begins_warm
from automl_kd.results.store.folder import of_this_comparison
from automl_kd.spec import OF_WARM_STARTS, Outcome, TrialSpec


@dataclasses.dataclass(frozen=True, kw_only=True)
class Billing:
    """Facts about a trial beside its progress: `label` for people, its roles, its work in full trainings."""

    label: str
    roles: tuple[str, ...]
    work: float = 1.0


class ProgressReporter:
    """Wraps the callbacks of a stage, and notifies the watcher of every call."""

    def __init__(
        self,
        watcher: Watcher,
        bill: Callable[[TrialSpec], Billing],
        *,
        ask: Callable[[int], Assignment | None],
        on_epoch: Callable[[TrialSpec, Metrics, int], None],
        on_outcome: Callable[[TrialSpec, Outcome, Curve], None],
    ) -> None:
        self.watcher, self.bill = watcher, bill
        self.own_ask, self.own_on_epoch, self.own_on_outcome = ask, on_epoch, on_outcome
        self.trials: dict[str, TrialStatus] = {}

    def ask(self, index: int) -> Assignment | None:
        assignment = self.own_ask(index)
        if assignment is not None:
            self.begin(index, assignment)
        return assignment

    def begin(self, index: int, assignment: Assignment) -> None:
        spec, replay = assignment.spec, assignment.replay
        epochs, length = spec.recipe.epochs, spec.recipe.length
        trial = TrialStatus(key=spec.key, number=index, epochs=epochs, length=length, **vars(self.bill(spec)))
        if replay is not None:
            # It ended in an earlier session: the replay in this one is not reported.
            last = with_metrics(trial, replay[-1] if replay else {}, len(replay))
            done = len(replay) >= epochs
            trial = dataclasses.replace(last, status="complete" if done else "stopped", recorded=True)
        self.notify(trial)

    def on_epoch(self, spec: TrialSpec, metrics: Metrics, epoch: int) -> None:
        self.own_on_epoch(spec, metrics, epoch)
        # After a restart a trial reports again what is known of it.
        if not (trial := self.trials[spec.key]).recorded and epoch > trial.epoch:
            self.notify(with_metrics(trial, metrics, epoch))

    def on_outcome(self, spec: TrialSpec, outcome: Outcome, curve: Curve) -> None:
        self.own_on_outcome(spec, outcome, curve)
        if not (trial := self.trials[spec.key]).recorded or outcome.status == "failed":
            last = with_metrics(trial, outcome.metrics, max(outcome.epoch, trial.epoch))
            self.notify(dataclasses.replace(last, status=outcome.status, error=outcome.error))

    def notify(self, trial: TrialStatus) -> None:
        self.trials[trial.key] = trial
        self.watcher.trial(trial)


def with_metrics(trial: TrialStatus, metrics: Metrics, epoch: int) -> TrialStatus:
    measured = {name: metrics[name] for name in ("val_accuracy", "train_macs", "seconds") if name in metrics}
    return dataclasses.replace(trial, epoch=epoch, **measured)  # type: ignore[arg-type]  # they are numbers


def plan_of(
    context: ExperimentContext, *, trials: int, work: float, ahead: float | None, compared: bool = True
) -> StagePlan:
    """The plan of a stage; `compared`: with its baseline, and what is on record of it."""
    comparison = context.experiment.comparison
    plan = StagePlan(trials=trials, work=work, workers=concurrency(context.experiment.trial), ahead=ahead)
    if not compared:
        return plan
    reference, name = (
        (comparison.reference, f"reference {comparison.reference}")
        if comparison.methods
        else ("default-kd", "default student, plain KD" if context.searched.parameters else "plain KD")
    )
    on_record = known(of_this_comparison(context.folder, context.table.read()), reference, name)
    return dataclasses.replace(plan, reference=reference, baseline=name, known=on_record)


def work_of_finals(context: ExperimentContext, *, chosen: bool = False) -> float:
    """The most work after the search, in its own trainings; `chosen`: the work after the choice among finalists.

    A choice with one candidate takes none, and trials that stand for two roles are counted as two.
    """
    finalists, recipe = context.experiment.finalists, context.experiment.recipe
    finals = count_finals(context.experiment)
    if chosen:
        return finals
    count = min(finalists.count, context.experiment.search.trials)
    trainings = finals + (count * len(finalists.seeds) if count > 1 else 0)
    return trainings * (finalists.epochs or recipe.epochs) / recipe.epochs


def count_finals(experiment: Experiment) -> int:
    """The most trainings at the end of a search: every baseline in every reading, and the found student."""
    finalists = experiment.finalists
    baselines = [one for one in finalists.baselines if begins_warm(experiment) or one not in OF_WARM_STARTS]
    return len(finalists.seeds) * (1 + len(baselines) * len(finalists.readings))


def known(rows: pd.DataFrame, reference: str, name: str) -> dict[str, float]:
    """Validation accuracies on record: of the teacher, and the mean of the baseline's finals."""
    complete = rows[(rows["status"] == "complete") & rows["val_accuracy"].notna()]
    found = {
        "teacher": complete.loc[complete["trial_kind"] == "teacher", "val_accuracy"],
        name: complete.loc[(complete["trial_kind"] == "final") & (complete["role"] == reference), "val_accuracy"],
    }
    return {what: float(accuracies.mean()) for what, accuracies in found.items() if len(accuracies)}
