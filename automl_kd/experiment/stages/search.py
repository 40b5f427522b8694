"""The search stage: proposals are filtered by proxies, trained under a scheduler and recorded; a kill loses nothing."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import torch

from automl_kd import files, spec_names, storage
from automl_kd.cluster.schedulers import unhalved
from automl_kd.cluster.sessions.session import device_of
from automl_kd.cluster.tune_runner import run_trials
from automl_kd.cluster.tune_searcher import Assignment, Curve, Later, Metrics
from automl_kd.config import SEARCH_SEEDS
from automl_kd.errors import ResultError
from automl_kd.experiment.context import OBJECTIVES, ExperimentContext
from automl_kd.experiment.optuna_journal import OptunaJournal
from automl_kd.experiment.progress.reporter import Billing, ProgressReporter, plan_of, work_of_finals
from automl_kd.experiment.proposals import Proposal, init_for, plain_kd
from automl_kd.experiment.records import on_profiled_device, points_of, replays, row_of, settled_failures
from automl_kd.experiment.stages.parents import Parents
from automl_kd.experiment.stages.proxy_check import filters_students
from automl_kd.experiment.stages.proxy_filter import by_student, make_probes, score_row, screen
from automl_kd.methods.hyperparameters import METHOD
from automl_kd.proxies.score import ProxyScore
from automl_kd.results.store.folder import data_name, require_storage
from automl_kd.results.store.scores import write_scores
from automl_kd.samplers import Exhausted, Feasible, Sampler, Screened, make_sampler
from automl_kd.space import Architecture
from automl_kd.spec import FROM_TEACHER, Outcome, Parent, TrialSpec
from automl_kd.training.checkpoint import CHECKPOINTS, TRAINING_FILE
from automl_kd.training.trial import teacher_file


@dataclass
class Journal:
    """The points proposed so far, in order, on disk: what a continued search proposes again, to the letter.

    A point has the values of the student's parameters and of whatever else is searched.
    """

    path: Path
    proposals: list[Architecture] = field(default_factory=list)

    @staticmethod
    def open(path: Path, *, methods: bool = False) -> Journal:
        """A last line that a kill cut short was never acted on, and is dropped. `methods`: a point names its method."""
        current = spec_names.current_point if methods else dict
        try:
            return Journal(path, [Architecture.of(current(json.loads(line))) for line in files.whole_lines(path)])
        except (ValueError, TypeError, AttributeError) as error:
            raise ResultError(
                f"{path} is damaged ({error}); 'automl-kd doctor {path.parent} --repair' repairs it"
            ) from error

    def append(self, point: Architecture) -> None:
        storage.append_line(self.path, json.dumps(point.as_dict()))
        self.proposals.append(point)


def require_trials(context: ExperimentContext) -> None:
    """Raise an error for fewer trials than a search has begun: they are recorded, and count in choices and reports."""
    path, settings = context.folder / "proposals.jsonl", context.experiment.search
    if context.experiment.comparison.methods or not path.exists():
        return
    with files.open_file(path) as file:
        begun = file.read().count(b"\n")
    if begun > settings.trials:
        raise ResultError(
            f"the search in {context.folder} has begun {begun} trials, and search.trials is {settings.trials}: what "
            f"was tried cannot be taken back; set it to {begun} or more, or give this search another name"
        )


@dataclass
class BestSoFar:
    """The best accuracy on validation that a search has seen, or other metric, which may lie below zero."""

    value: float = -math.inf

    def learn(self, metrics: Metrics) -> None:
        self.value = max(self.value, metrics.get("val_accuracy", -math.inf))

    @property
    def note(self) -> str:
        return f"best {self.value:.1%}" if self.value > -math.inf else ""

    def note_latest(self, metrics: Metrics) -> str:
        """The note of the best with what a trial has just reported, which is learned."""
        self.learn(metrics)
        return f"{self.note}, latest {metrics['val_accuracy']:.1%}" if "val_accuracy" in metrics else self.note


class Searching:
    """One session of a search, between Tune's questions and the records on disk."""

    def __init__(self, context: ExperimentContext) -> None:
        self.context = context
        self.journal = Journal.open(
            context.folder / "proposals.jsonl", methods=METHOD in context.experiment.hyperparameters
        )
        rows, curves = context.table.read(), context.table.curves()
        rows, curves = rows[rows["trial_kind"] == "search"], curves[curves["trial_kind"] == "search"]
        self.replays = replays(rows, curves)
        self.failures = {} if context.experiment.trial.retry_failed else settled_failures(rows, curves)
        self.sampler = make_search_sampler(context, self.is_new)
        self.device = device_of(context.experiment.trial)
        self.parents = Parents.open(context.folder, rows) if context.experiment.search.inherit else None
        self.mirror = OptunaJournal.of(context, self.journal.proposals)
        self.index: dict[str, int] = {}
        self.started: dict[str, datetime] = {}
        self.ended = 0
        self.best = BestSoFar()

    def is_new(self, candidate: Architecture) -> bool:
        return candidate not in self.journal.proposals

    def ask(self, index: int) -> Assignment | None:
        """The trial of proposal `index`: the journal's, or a new one; None when all are made or none is left."""
        if index >= self.context.experiment.search.trials:
            return None
        if index >= len(self.journal.proposals):
            if not self.context.steering.may_propose(self.context, index):
                self.context.watcher.note(f"the time for the search is over after {index} trials")
                return None
            try:
                self.propose(index)
            except Exhausted:
                self.context.watcher.note(f"no new architecture within the budget was found after {index} proposals")
                return None
        parent = self.parents.chosen.get(index) if self.parents else None
        spec = search_spec(self.context, self.context.proposal(self.journal.proposals[index]), parent)
        self.index[spec.key], self.started[spec.key] = index, datetime.now(UTC)
        pausable = self.context.experiment.search.scheduler == "hyperband"
        paths = dataclasses.replace(self.context.trial_paths(spec, self.device), pausable=pausable)
        if spec.key in self.failures:
            curve, failure = self.failures[spec.key]
            return Assignment(spec=spec, paths=paths, replay=curve, failure=failure)
        return Assignment(spec=spec, paths=paths, replay=self.replays.get(spec.key))

    def propose(self, index: int) -> None:
        """Record a new proposal; `Exhausted` if there is none."""
        point = self.sampler.ask(index)
        if self.parents:
            self.parents.choose(index, self.context.proposal(point).architecture)
        self.journal.append(point)

    def on_epoch(self, _spec: TrialSpec, metrics: Metrics, _epoch: int) -> None:
        self.context.watcher.step(self.ended, self.best.note_latest(metrics))

    def on_outcome(self, spec: TrialSpec, outcome: Outcome, curve: Curve) -> None:
        """Record the outcome before the sampler learns it: what the sampler knows is always on disk."""
        index = self.index[spec.key]
        if spec.key in self.replays:
            outcome = on_record(spec, self.replays[spec.key])
        outcome = on_profiled_device(self.context, spec, outcome, self.device)
        inherited = self.parents.ancestor_macs(spec) if self.parents else 0.0
        recorded = spec.key in self.replays or spec.key in self.failures
        if not recorded:
            require_storage(self.context.folder, failed=outcome.failure_kind == "storage")
            row = row_of(
                self.context,
                spec,
                outcome,
                trial_kind="search",
                role="search",
                proposal=index,
                started=self.started[spec.key],
                device=self.device,
                ancestor_macs=inherited,
            )
            self.context.table.append(row, points_of(curve))
            reported = {**curve, outcome.epoch: outcome.metrics} if curve else curve
            self.mirror.add(index, self.journal.proposals[index], spec.key, outcome, reported)
        folder = self.context.trial_paths(spec, self.device).trial
        if outcome.status == "stopped" and (not recorded or (folder / TRAINING_FILE).exists()):
            storage.remove_named(folder, CHECKPOINTS)  # nothing continues it
        if self.parents:
            self.parents.learn(index, spec, outcome)
        followed = {name: value for name, value in outcome.metrics.items() if name in OBJECTIVES}
        self.sampler.tell(index, self.journal.proposals[index], dataclasses.replace(outcome, metrics=followed))
        self.ended += 1
        self.best.learn(outcome.metrics)  # also of what an earlier session did
        self.context.note_outcome(outcome)
        if outcome.status == "failed":
            self.context.watcher.note(f"trial {index} failed: {outcome.error}")
        self.context.watcher.step(self.ended, self.best.note)


def on_record(spec: TrialSpec, replay: Sequence[Metrics]) -> Outcome:
    """Return the outcome of a trial of an earlier session, even if the scheduler cut its replay short in this one."""
    done = len(replay) >= spec.recipe.epochs
    return Outcome(status="complete" if done else "stopped", metrics=replay[-1], epoch=len(replay))


def run_search(context: ExperimentContext) -> None:
    """Carry out the experiment's search, or what is left of it."""
    settings = context.experiment.search
    context.watcher.stage(f"search, {settings.trials} trials by {settings.sampler}", settings.trials, "trials")
    context.watcher.plan(plan_of(context, trials=settings.trials, work=settings.trials, ahead=work_of_finals(context)))
    if note := unhalved(settings, context.experiment.recipe.epochs):
        context.watcher.note(note)
    searching = Searching(context)
    reporter = ProgressReporter(
        context.watcher,
        lambda spec: billing(context, spec),
        ask=searching.ask,
        on_epoch=searching.on_epoch,
        on_outcome=searching.on_outcome,
    )
    carry_through(context, reporter)


class SearchSession(Protocol):
    """What a search does between Tune's questions and the records on disk."""

    def ask(self, index: int, /) -> Assignment | Later | None: ...

    def on_epoch(self, spec: TrialSpec, metrics: Metrics, epoch: int, /) -> None: ...

    def on_outcome(self, spec: TrialSpec, outcome: Outcome, curve: Curve, /) -> None: ...


def carry_through(context: ExperimentContext, session: SearchSession) -> None:
    run_trials(
        session.ask,
        on_epoch=session.on_epoch,
        on_outcome=session.on_outcome,
        resources=context.experiment.trial,
        search=context.experiment.search,
        epochs=context.experiment.recipe.epochs,
        scratch=context.folder,
        trials=context.experiment.search.trials,
        say=context.watcher.note,
        workers=context.workers,
    )


def billing(context: ExperimentContext, spec: TrialSpec) -> Billing:
    """Describe a trial for the watcher; a proposal equal to the baseline counts as the baseline."""
    tried = Proposal(spec.architecture, spec.method, spec.options, spec.schedule)
    label = context.space.label(spec.architecture)
    if context.experiment.hyperparameters:
        label = ", ".join([label, spec.method, *(f"{name}={value}" for name, value in spec.options.items())])
    baseline = tried.key == plain_kd(context.experiment, context.baseline).key
    return Billing(label=label, roles=("default-kd",) if baseline else ("search",))


def search_spec(context: ExperimentContext, proposal: Proposal, parent: Parent | None = None) -> TrialSpec:
    experiment, init = context.experiment, init_for(context.experiment, proposal)
    return TrialSpec(
        space=experiment.space,
        architecture=proposal.architecture,
        method=proposal.method,
        options=proposal.options,
        data=experiment.data,
        teacher=experiment.teacher if proposal.made.needs_teacher or init == FROM_TEACHER else None,
        recipe=experiment.recipe,
        seed=SEARCH_SEEDS + experiment.seed,
        schedule=proposal.schedule,
        init=init,
        parent=parent,
    )


def make_search_sampler(context: ExperimentContext, is_new: Callable[[Architecture], bool]) -> Sampler:
    """Build the experiment's sampler: within the budget, without repetition, with a proxy filter if there is one."""
    settings, seed = context.experiment.search, context.experiment.seed
    inner = make_sampler(
        settings.sampler, context.searched, objectives=context.objectives, seed=seed, options=settings.options
    )
    feasible = Feasible(inner, lambda candidate: is_new(candidate) and context.allowed(candidate))
    if not filters_students(context):
        return feasible
    probes = make_probes(
        context.dataset,
        settings.proxy_filter,
        context.experiment.teacher,
        images=settings.probe_images,
        draws=settings.repeats,
        seed=seed,
        weights=None if settings.proxy_teacher == "random" else first_teacher_file(context),
        device="cuda" if context.experiment.trial.device != "cpu" and torch.cuda.is_available() else "cpu",
    )
    ranking = screen(
        context.space, settings.proxy_filter, probes, seed=seed, on_scores=lambda found: keep_scores(context, found)
    )
    return Screened(feasible, by_student(ranking, lambda point: context.proposal(point).architecture), settings.pool)


def first_teacher_file(context: ExperimentContext) -> Path:
    """The weights of the teacher, the first of several, which is trained by now."""
    first, data = context.experiment.teacher.members[0], context.experiment.data
    return teacher_file(first, data, context.trial_paths(context.teacher_training, "cpu"))


def keep_scores(context: ExperimentContext, scores: Sequence[ProxyScore]) -> None:
    """Record the scores of a pool, and note once per proxy which architectures it cannot score."""
    experiment = context.experiment
    for one in scores:
        if one.error and one.proxy not in context.noted:
            context.noted.add(one.proxy)
            context.watcher.note(f"proxy {one.proxy!r} ranks last what it cannot score: {one.error}")
    rows = [
        score_row(
            one,
            context.space,
            context.dataset.student_shape,
            reference=experiment.space,
            data=data_name(context.folder, experiment.data.name),
            teacher=experiment.teacher.model,
            images=experiment.search.probe_images,
            seed=experiment.seed,
        )
        for one in scores
    ]
    write_scores(context.folder, rows)
