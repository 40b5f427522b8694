"""Population-based search: copies of one student train side by side, and their hyperparameters change on the way.

A member is trained for `search.interval` epochs at a time, as a trial that ends then and is assigned again. When all
have come as far, the worst take over the weights of the best and other values (`automl_kd.samplers.population`, or
`population_bandit` for their choice), the change is recorded, and they go on. A member that failed is out.

All members train with the same seed, so a member is a function of its schedule alone: the trial of its row, schedule
and all, comes to the same weights when it is trained from scratch (see `training.loop`). Checkpoints
that are copied only spare that. So nothing can be lost by a kill but time: a continued population reads its last change
from `population.jsonl` and is trained from whatever checkpoints there are, and it becomes what the unbroken one would
have, however many trials run at once. The schedule of the best is then the method found: the finals train it from
scratch with their own seeds.
"""

from __future__ import annotations

import dataclasses
import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from automl_kd import files, storage
from automl_kd.cluster.sessions.session import device_of
from automl_kd.cluster.tune_searcher import Assignment, Curve, Later, Metrics
from automl_kd.errors import ResultError
from automl_kd.experiment.context import ExperimentContext
from automl_kd.experiment.optuna_journal import OptunaJournal
from automl_kd.experiment.progress.events import TrialStatus
from automl_kd.experiment.progress.reporter import plan_of, with_metrics, work_of_finals
from automl_kd.experiment.proposals import Proposal, default_teaching
from automl_kd.experiment.records import points_of, replays, row_of
from automl_kd.experiment.stages.search import BestSoFar, Journal, carry_through, make_search_sampler, search_spec
from automl_kd.methods.perturbed import changes_of, ranges_of
from automl_kd.results.store.folder import require_storage
from automl_kd.samplers.population import HyperparameterValues, Member, evolve, perturb
from automl_kd.samplers.population_bandit import Gain, choose_values
from automl_kd.space import Architecture
from automl_kd.spec import Outcome, Stage, TrialSpec
from automl_kd.training.checkpoint import branch


@dataclass
class Changes:
    """The changes so far, on disk: after how many epochs, the scores then, the members from then on."""

    path: Path
    epochs: list[int] = field(default_factory=list)
    scores: list[list[float | None]] = field(default_factory=list)
    members: list[list[Member]] = field(default_factory=list)

    @staticmethod
    def open(path: Path) -> Changes:
        found = Changes(path)
        try:
            for line in map(json.loads, files.whole_lines(path)):
                found.keep(line["epochs"], line["scores"], [read_member(one) for one in line["members"]])
        except (ValueError, KeyError, TypeError) as error:
            raise ResultError(f"{path} is damaged ({error}); delete the folder to begin the search anew") from error
        return found

    def append(self, epochs: int, scores: list[float | None], members: list[Member]) -> None:
        described = [[one.history, one.lineage, one.alive] for one in members]
        storage.append_line(self.path, json.dumps({"epochs": epochs, "scores": scores, "members": described}))
        self.keep(epochs, scores, members)

    def keep(self, epochs: int, scores: list[float | None], members: list[Member]) -> None:
        self.epochs.append(epochs)
        self.scores.append(scores)
        self.members.append(members)


def read_member(record: Sequence[object]) -> Member:
    history, lineage, alive = json.loads(json.dumps(record))
    return Member(
        tuple((epoch, hyperparameters) for epoch, hyperparameters in history), tuple(map(tuple, lineage)), alive
    )


class Population:
    """One session of a population, between Tune's questions and the records on disk."""

    def __init__(self, context: ExperimentContext) -> None:
        self.context, self.settings, self.epochs = context, context.experiment.search, context.experiment.recipe.epochs
        self.ranges = ranges_of(self.settings.perturb)
        self.changes = Changes.open(context.folder / "population.jsonl")
        self.journal = Journal.open(context.folder / "proposals.jsonl")
        self.first = self.beginnings()
        rows, curves = context.table.read(), context.table.curves()
        self.replays = replays(rows[rows["trial_kind"] == "search"], curves[curves["trial_kind"] == "search"])
        self.mirror = OptunaJournal.of(context, self.journal.proposals)
        self.device = device_of(context.experiment.trial)
        self.started: dict[int, datetime] = {}
        self.trials: dict[int, TrialStatus] = {}
        self.ended, self.best = len(self.changes.epochs) * len(self.first), BestSoFar()
        self.begin()

    def beginnings(self) -> list[Member]:
        """The members as the sampler begins them."""
        if self.changes.members and len(self.changes.members[0]) != self.settings.trials:
            raise ResultError(
                f"the population in {self.context.folder} has {len(self.changes.members[0])} members, and "
                f"search.trials is {self.settings.trials}; put it back, or give this search another name"
            )
        sampler = make_search_sampler(self.context, lambda candidate: candidate not in self.journal.proposals)
        while len(self.journal.proposals) < self.settings.trials:
            self.journal.append(sampler.ask(len(self.journal.proposals)))
        points = self.journal.proposals[: self.settings.trials]
        return [Member(((0, hyperparameters_of(point)),)) for point in points]

    def begin(self) -> None:
        """Begin the round after the last change: every member that is alive goes on to the next."""
        self.members = self.changes.members[-1] if self.changes.members else self.first
        done = self.changes.epochs[-1] if self.changes.epochs else 0
        self.until = min(done + self.settings.interval, self.epochs)
        self.waiting = deque(index for index, one in enumerate(self.members) if one.alive)
        self.running: dict[str, int] = {}
        self.scores: list[float | None] = [None] * len(self.members)

    def ask(self, _index: int) -> Assignment | Later | None:
        if not self.waiting and self.running:
            return Later()
        if not self.waiting and self.until < self.epochs:
            self.change()
        if not self.waiting:
            return None
        index = self.waiting.popleft()
        spec = self.spec(self.members[index])
        self.running[spec.key] = index
        self.started.setdefault(index, datetime.now(UTC))
        until = self.until if self.until < self.epochs else None
        paths, replay = self.context.trial_paths(spec, self.device), self.replays.get(spec.key)
        self.notify_replay(index, replay)
        return Assignment(spec=spec, paths=paths, replay=replay, until=until)

    def spec(self, member: Member) -> TrialSpec:
        """The trial that a member is by now: its schedule is its course."""
        method, options = default_teaching(self.context.experiment)
        stages = tuple(
            Stage(epoch / self.epochs, changes_of(hyperparameters, method, options))
            for epoch, hyperparameters in member.history
        )
        return search_spec(self.context, Proposal(Architecture(()), method, options, stages))

    def change(self) -> None:
        """Let the worst take over from the best, and record it when the checkpoints that it takes are copied."""
        specs = [self.spec(one) for one in self.members]
        members = evolve(
            self.members,
            self.scores,
            [spec.key for spec in specs],
            self.explore,
            epoch=self.until,
            quantile=self.settings.quantile,
            seed=self.context.experiment.seed,
        )
        for one in members:
            if one.lineage and one.lineage[-1][0] == self.until:
                giver = specs[one.lineage[-1][1]]
                branch(
                    self.context.trial_paths(giver, self.device).trial,
                    self.context.trial_paths(self.spec(one), self.device).trial,
                )
        self.changes.append(self.until, self.scores, members)
        self.begin()

    def explore(
        self, giver: int, chosen: Sequence[HyperparameterValues], rng: np.random.Generator
    ) -> HyperparameterValues:
        if self.settings.scheduler == "pbt":
            return perturb(self.members[giver].hyperparameters, self.ranges, self.settings.resample, rng)
        before = self.scores[giver]
        assert before is not None
        coming = len(self.changes.epochs) + 1
        return choose_values(self.gains(), self.ranges, coming=coming, before=before, chosen=chosen, rng=rng)

    def gains(self) -> list[Gain]:
        """What every round but the first has gained, per epoch; the first began with scores that nobody measured."""
        found: list[Gain] = []
        epochs, scores = [0, *self.changes.epochs, self.until], [*self.changes.scores, self.scores]
        for number in range(1, len(scores)):
            length = epochs[number + 1] - epochs[number]
            for index, member in enumerate(self.changes.members[number - 1]):
                taken = [one for one in member.lineage if one[0] == epochs[number]]
                before, after = scores[number - 1][taken[-1][1] if taken else index], scores[number][index]
                if before is not None and after is not None:
                    found.append(Gain(number, before, member.hyperparameters, (after - before) / length))
        return found

    def notify_replay(self, index: int, replay: Sequence[Metrics] | None) -> None:
        """Notify the watcher that a member goes on. Between two rounds it counts as running."""
        label = ", ".join(f"{name}={value:.4g}" for name, value in self.members[index].hyperparameters.items())
        trial = self.trials.get(index) or TrialStatus(
            key=f"member {index}", number=index, label="", roles=("search",), epochs=self.epochs
        )
        trial = dataclasses.replace(trial, label=label)
        if replay:
            last = with_metrics(trial, replay[-1], len(replay))
            trial = dataclasses.replace(last, status="complete", recorded=True)
        self.notify(trial)

    def notify(self, trial: TrialStatus) -> None:
        self.trials[trial.number] = trial
        self.context.watcher.trial(trial)

    def on_epoch(self, spec: TrialSpec, metrics: Metrics, epoch: int) -> None:
        trial = self.trials[self.running[spec.key]]
        if epoch > trial.epoch:  # a continued trial reports again what is known of it
            self.notify(with_metrics(trial, metrics, epoch))
        self.context.watcher.step(self.ended, self.best.note_latest(metrics))

    def on_outcome(self, spec: TrialSpec, outcome: Outcome, curve: Curve) -> None:
        """A member that has come to the change waits for it; one that has come to its end, or failed, is recorded."""
        index = self.running.pop(spec.key)
        reached = outcome.status != "failed" and outcome.epoch >= self.until
        if reached:
            self.scores[index] = outcome.metrics["val_accuracy"]
        if (not reached or self.until == self.epochs) and spec.key not in self.replays:
            self.record(index, spec, outcome, curve)
            last = with_metrics(self.trials[index], outcome.metrics, max(outcome.epoch, self.trials[index].epoch))
            self.notify(dataclasses.replace(last, status=outcome.status, error=outcome.error))
            self.context.note_outcome(outcome)
        self.ended += 1
        self.best.learn(outcome.metrics)
        self.context.watcher.step(self.ended, self.best.note)

    def record(self, index: int, spec: TrialSpec, outcome: Outcome, curve: Curve) -> None:
        require_storage(self.context.folder, failed=outcome.failure_kind == "storage")
        row = row_of(
            self.context,
            spec,
            outcome,
            trial_kind="search",
            role="search",
            proposal=index,
            lineage=self.members[index].lineage,
            started=self.started[index],
            device=self.device,
        )
        self.context.table.append(row, points_of(curve))
        self.mirror.add(index, self.journal.proposals[index], spec.key, outcome, curve)
        if outcome.status == "failed":
            self.context.watcher.note(f"member {index} failed: {outcome.error}")


def search_by_population(context: ExperimentContext) -> None:
    """Carry out the experiment's search by a population, or what is left of it."""
    settings = context.experiment.search
    rounds = -(-context.experiment.recipe.epochs // settings.interval)
    title = f"population of {settings.trials} by {settings.scheduler}, {rounds} rounds"
    context.watcher.stage(title, settings.trials * rounds, "rounds of a member")
    context.watcher.plan(plan_of(context, trials=settings.trials, work=settings.trials, ahead=work_of_finals(context)))
    carry_through(context, Population(context))


def hyperparameters_of(point: Architecture) -> dict[str, float]:
    return {name: float(value) for name, value in point.as_dict().items()}
