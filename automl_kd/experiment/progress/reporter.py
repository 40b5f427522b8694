"""Telling the watcher of every trial of a stage: what stands between the runner and the stage's own callbacks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pandas as pd

from automl_kd.cluster.searcher import Assignment, Curve, Metrics
from automl_kd.cluster.sessions.session import concurrency
from automl_kd.experiment.context import ExperimentContext
from automl_kd.experiment.progress.events import StagePlan, TrialNews, Watcher
from automl_kd.results.store.folder import of_this_comparison
from automl_kd.results.store.row import FINAL_ROLES
from automl_kd.spec import Outcome, TrialSpec


@dataclasses.dataclass(frozen=True, kw_only=True)
class Billing:
    """What is said of a trial beside its progress: `label` for people, what it stands for, and its work in trainings of
    full length.
    """

    label: str
    roles: tuple[str, ...]
    work: float = 1.0


class Teller:
    """The callbacks of a stage, which it passes on, with the watcher told of what they hear."""

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
        self.news: dict[str, TrialNews] = {}

    def ask(self, index: int) -> Assignment | None:
        assignment = self.own_ask(index)
        if assignment is not None:
            self.begin(index, assignment)
        return assignment

    def begin(self, index: int, assignment: Assignment) -> None:
        spec, replay = assignment.spec, assignment.replay
        epochs = spec.recipe.epochs
        news = TrialNews(key=spec.key, number=index, epochs=epochs, **vars(self.bill(spec)))
        if replay is not None:
            # It ended in an earlier sitting: what this one makes of its replay is of no interest.
            last = with_metrics(news, replay[-1] if replay else {}, len(replay))
            done = len(replay) >= epochs
            news = dataclasses.replace(last, status="complete" if done else "stopped", recorded=True)
        self.tell(news)

    def on_epoch(self, spec: TrialSpec, metrics: Metrics, epoch: int) -> None:
        self.own_on_epoch(spec, metrics, epoch)
        # After a restart a trial reports again what is known of it.
        if not (news := self.news[spec.key]).recorded and epoch > news.epoch:
            self.tell(with_metrics(news, metrics, epoch))

    def on_outcome(self, spec: TrialSpec, outcome: Outcome, curve: Curve) -> None:
        self.own_on_outcome(spec, outcome, curve)
        if not (news := self.news[spec.key]).recorded or outcome.status == "failed":
            last = with_metrics(news, outcome.metrics, max(outcome.epoch, news.epoch))
            self.tell(dataclasses.replace(last, status=outcome.status, error=outcome.error))

    def tell(self, news: TrialNews) -> None:
        self.news[news.key] = news
        self.watcher.trial(news)


def with_metrics(news: TrialNews, metrics: Metrics, epoch: int) -> TrialNews:
    measured = {name: metrics[name] for name in ("val_accuracy", "train_macs", "seconds") if name in metrics}
    return dataclasses.replace(news, epoch=epoch, **measured)  # type: ignore[arg-type]  # they are numbers


def plan_of(
    lab: ExperimentContext, *, trials: int, work: float, ahead: float | None, compared: bool = True
) -> StagePlan:
    """The plan of a stage; `compared`: with its baseline, and what is on record of it."""
    comparison = lab.experiment.comparison
    plan = StagePlan(trials=trials, work=work, workers=concurrency(lab.experiment.trial), ahead=ahead)
    if not compared:
        return plan
    reference, name = (
        (comparison.reference, f"reference {comparison.reference}")
        if comparison.methods
        else ("default-kd", "default student, plain KD")
    )
    on_record = known(of_this_comparison(lab.folder, lab.table.read()), reference, name)
    return dataclasses.replace(plan, reference=reference, baseline=name, known=on_record)


def work_of_finals(lab: ExperimentContext, *, chosen: bool = False) -> float:
    """What comes after the search, in its own trainings; `chosen`: after the choice among finalists, in such trainings.

    A choice with one candidate takes none, and trials that stand for two roles are counted as two.
    """
    finalists, recipe = lab.experiment.finalists, lab.experiment.recipe
    finals = len(FINAL_ROLES) * len(finalists.seeds)
    if chosen:
        return finals
    count = min(finalists.count, lab.experiment.search.trials)
    trainings = finals + (count * len(finalists.seeds) if count > 1 else 0)
    return trainings * (finalists.epochs or recipe.epochs) / recipe.epochs


def known(rows: pd.DataFrame, reference: str, name: str) -> dict[str, float]:
    """Validation accuracies on record: of the teacher, and the mean of the baseline's finals."""
    complete = rows[(rows["status"] == "complete") & rows["val_accuracy"].notna()]
    found = {
        "teacher": complete.loc[complete["run"] == "teacher", "val_accuracy"],
        name: complete.loc[(complete["run"] == "final") & (complete["role"] == reference), "val_accuracy"],
    }
    return {what: float(accuracies.mean()) for what, accuracies in found.items() if len(accuracies)}
