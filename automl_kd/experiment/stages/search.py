"""The search: proposals screened by proxies, trained under a scheduler, recorded; continued after a kill."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import torch

from automl_kd import files, spec_names, storage
from automl_kd.cluster.schedulers import unhalved
from automl_kd.cluster.searcher import Assignment, Curve, Later, Metrics
from automl_kd.cluster.sessions.session import device_of
from automl_kd.cluster.tune_runner import run_trials
from automl_kd.config import SEARCH_SEEDS
from automl_kd.errors import ResultError
from automl_kd.experiment.context import OBJECTIVES, ExperimentContext
from automl_kd.experiment.optuna_journal import OptunaJournal
from automl_kd.experiment.progress.reporter import Billing, Teller, plan_of, work_of_finals
from automl_kd.experiment.proposals import Proposal, plain_kd
from automl_kd.experiment.records import points_of, replays, row_of, settled_failures
from automl_kd.experiment.stages.screening import by_student, make_probes, score_row, screen
from automl_kd.methods.hyperparameters import METHOD
from automl_kd.proxies.score import ProxyScore
from automl_kd.results.store.folder import data_name, require_storage
from automl_kd.results.store.scores import write_scores
from automl_kd.search import Exhausted, Feasible, Sampler, Screened, make_sampler
from automl_kd.space import Architecture
from automl_kd.spec import Outcome, TrialSpec


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
        except (ValueError, AttributeError) as error:
            raise ResultError(
                f"{path} is damaged ({error}); 'automl-kd doctor {path.parent} --repair' mends it"
            ) from error

    def append(self, point: Architecture) -> None:
        storage.append_line(self.path, json.dumps(point.as_dict()))
        self.proposals.append(point)


def require_trials(lab: ExperimentContext) -> None:
    """Refuse fewer trials than a search has begun: they are on record, and would count in what is chosen and shown."""
    path, settings = lab.folder / "proposals.jsonl", lab.experiment.search
    if lab.experiment.comparison.methods or not path.exists():
        return
    with files.open_file(path) as file:
        begun = file.read().count(b"\n")
    if begun > settings.trials:
        raise ResultError(
            f"the search in {lab.folder} has begun {begun} trials, and search.trials is {settings.trials}: what was "
            f"tried cannot be taken back; set it to {begun} or more, or give this search another name"
        )


class Searching:
    """One sitting of a search, between Tune's questions and the records on disk."""

    def __init__(self, lab: ExperimentContext) -> None:
        self.lab = lab
        self.journal = Journal.open(lab.folder / "proposals.jsonl", methods=METHOD in lab.experiment.hyperparameters)
        rows, curves = lab.table.read(), lab.table.curves()
        rows, curves = rows[rows["run"] == "search"], curves[curves["run"] == "search"]
        self.replays = replays(rows, curves)
        self.failures = {} if lab.experiment.trial.retry_failed else settled_failures(rows, curves)
        self.sampler = make_search_sampler(lab, self.is_new)
        self.device = device_of(lab.experiment.trial)
        self.mirror = OptunaJournal.of(lab, self.journal.proposals)
        self.index: dict[str, int] = {}
        self.started: dict[str, datetime] = {}
        self.ended = 0
        self.best = 0.0

    def is_new(self, candidate: Architecture) -> bool:
        return candidate not in self.journal.proposals

    def ask(self, index: int) -> Assignment | None:
        """The trial of proposal `index`: the journal's, or a new one; None when all are made or none is left."""
        if index >= self.lab.experiment.search.trials:
            return None
        if index >= len(self.journal.proposals):
            try:
                self.journal.append(self.sampler.ask(index))
            except Exhausted:
                self.lab.watcher.note(f"no new architecture within the budget was found after {index} proposals")
                return None
        spec = search_spec(self.lab, self.lab.proposal(self.journal.proposals[index]))
        self.index[spec.key], self.started[spec.key] = index, datetime.now(UTC)
        pausable = self.lab.experiment.search.scheduler == "hyperband"
        place = dataclasses.replace(self.lab.place(spec, self.device), pausable=pausable)
        if spec.key in self.failures:
            curve, failure = self.failures[spec.key]
            return Assignment(spec=spec, place=place, replay=curve, failure=failure)
        return Assignment(spec=spec, place=place, replay=self.replays.get(spec.key))

    def on_epoch(self, _spec: TrialSpec, metrics: Metrics, _epoch: int) -> None:
        self.best = max(self.best, metrics.get("val_accuracy", 0.0))
        self.lab.watcher.step(self.ended, f"best {self.best:.1%}, latest {metrics.get('val_accuracy', 0.0):.1%}")

    def on_outcome(self, spec: TrialSpec, outcome: Outcome, curve: Curve) -> None:
        """Record first, then tell: what the sampler knows is always on disk."""
        index = self.index[spec.key]
        if spec.key in self.replays:
            outcome = on_record(spec, self.replays[spec.key])
        elif spec.key not in self.failures:
            require_storage(self.lab.folder, failed=outcome.reason == "storage")
            row = row_of(
                self.lab,
                spec,
                outcome,
                run="search",
                role="search",
                proposal=index,
                started=self.started[spec.key],
                device=self.device,
            )
            self.lab.table.append(row, points_of(curve))
            self.mirror.add(index, self.journal.proposals[index], spec.key, outcome, curve)
        followed = {name: value for name, value in outcome.metrics.items() if name in OBJECTIVES}
        self.sampler.tell(index, self.journal.proposals[index], dataclasses.replace(outcome, metrics=followed))
        self.ended += 1
        self.best = max(self.best, outcome.metrics.get("val_accuracy", 0.0))  # also of what an earlier sitting did
        self.lab.note_bank(outcome)
        if outcome.status == "failed":
            self.lab.watcher.note(f"trial {index} failed: {outcome.error}")
        self.lab.watcher.step(self.ended, f"best {self.best:.1%}")


def on_record(spec: TrialSpec, replay: Sequence[Metrics]) -> Outcome:
    """What came of a trial of an earlier sitting, though the scheduler may have cut its replay short in this one."""
    done = len(replay) >= spec.recipe.epochs
    return Outcome(status="complete" if done else "stopped", metrics=replay[-1], epoch=len(replay))


def run_search(lab: ExperimentContext) -> None:
    """Carry out the experiment's search, or what is left of it."""
    settings = lab.experiment.search
    lab.watcher.stage(f"search, {settings.trials} trials by {settings.sampler}", settings.trials, "trials")
    lab.watcher.plan(plan_of(lab, trials=settings.trials, work=settings.trials, ahead=work_of_finals(lab)))
    if told_of_scheduler := unhalved(settings, lab.experiment.recipe.epochs):
        lab.watcher.note(told_of_scheduler)
    searching = Searching(lab)
    told = Teller(
        lab.watcher,
        lambda spec: billing(lab, spec),
        ask=searching.ask,
        on_epoch=searching.on_epoch,
        on_outcome=searching.on_outcome,
    )
    carry_through(lab, told)


class Sitting(Protocol):
    """What a search does between Tune's questions and the records on disk."""

    def ask(self, index: int, /) -> Assignment | Later | None: ...

    def on_epoch(self, spec: TrialSpec, metrics: Metrics, epoch: int, /) -> None: ...

    def on_outcome(self, spec: TrialSpec, outcome: Outcome, curve: Curve, /) -> None: ...


def carry_through(lab: ExperimentContext, sitting: Sitting) -> None:
    run_trials(
        sitting.ask,
        on_epoch=sitting.on_epoch,
        on_outcome=sitting.on_outcome,
        resources=lab.experiment.trial,
        search=lab.experiment.search,
        epochs=lab.experiment.recipe.epochs,
        scratch=lab.folder,
        trials=lab.experiment.search.trials,
        say=lab.watcher.note,
    )


def billing(lab: ExperimentContext, spec: TrialSpec) -> Billing:
    """What the watcher is told of a trial; one that happens to be the baseline counts as it."""
    tried = Proposal(spec.architecture, spec.method, spec.options, spec.schedule)
    label = lab.space.label(spec.architecture)
    if lab.experiment.hyperparameters:
        label = ", ".join([label, spec.method, *(f"{name}={value}" for name, value in spec.options.items())])
    baseline = tried.key == plain_kd(lab.experiment, lab.baseline).key
    return Billing(label=label, roles=("default-kd",) if baseline else ("search",))


def search_spec(lab: ExperimentContext, proposal: Proposal) -> TrialSpec:
    experiment = lab.experiment
    return TrialSpec(
        space=experiment.space,
        architecture=proposal.architecture,
        method=proposal.method,
        options=proposal.options,
        data=experiment.data,
        teacher=experiment.teacher if proposal.made.taught else None,
        recipe=experiment.recipe,
        seed=SEARCH_SEEDS + experiment.seed,
        schedule=proposal.schedule,
    )


def make_search_sampler(lab: ExperimentContext, is_new: Callable[[Architecture], bool]) -> Sampler:
    """The experiment's sampler, kept within the budget, off what was proposed before, and screened if it says so."""
    settings, seed = lab.experiment.search, lab.experiment.seed
    inner = make_sampler(settings.sampler, lab.searched, objectives=lab.objectives, seed=seed, options=settings.options)
    feasible = Feasible(inner, lambda candidate: is_new(candidate) and lab.allowed(candidate))
    # Proxies judge students, and are not asked where there is only one.
    if not settings.proxy_filter or not lab.space.parameters:
        return feasible
    probes = make_probes(
        lab.dataset,
        settings.proxy_filter,
        lab.experiment.teacher.model,
        images=settings.probe_images,
        draws=settings.repeats,
        seed=seed,
        device="cuda" if lab.experiment.trial.device != "cpu" and torch.cuda.is_available() else "cpu",
    )
    ranking = screen(
        lab.space, settings.proxy_filter, probes, seed=seed, on_scores=lambda found: keep_scores(lab, found)
    )
    return Screened(feasible, by_student(ranking, lambda point: lab.proposal(point).architecture), settings.pool)


def keep_scores(lab: ExperimentContext, scores: Sequence[ProxyScore]) -> None:
    """Put what proxies said of a pool on record, and say once of each which architectures it cannot judge."""
    experiment = lab.experiment
    for one in scores:
        if one.error and one.proxy not in lab.told:
            lab.told.add(one.proxy)
            lab.watcher.note(f"proxy {one.proxy!r} ranks last what it cannot judge: {one.error}")
    rows = [
        score_row(
            one,
            lab.space,
            lab.dataset.shape,
            reference=experiment.space,
            data=data_name(lab.folder, experiment.data.name),
            teacher=experiment.teacher.model,
            images=experiment.search.probe_images,
            seed=experiment.seed,
        )
        for one in scores
    ]
    write_scores(lab.folder, rows)
