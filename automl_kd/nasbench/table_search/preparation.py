"""Making searches of a table ready: every column, device, score and searcher is found and checked before any runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from automl_kd.errors import ConfigError
from automl_kd.files import expand
from automl_kd.nasbench.config import SamplerRun, TableExperiment, TableTask
from automl_kd.nasbench.samplers import PAIRS, Bench, Guidance, TableSampler, make_table_sampler
from automl_kd.nasbench.table.columns import Reals
from automl_kd.nasbench.table.score_column import ScoreColumn, read_column
from automl_kd.nasbench.table.table import Choosing, Table, Yardsticks, find_table
from automl_kd.registry import suggestion

HALVING = ("asha", "halving")
"""Kinds that need a short training beside the long one."""


@dataclass(frozen=True, eq=False)
class Ready:
    """A task with the columns that it names. `rungs`: what may be chosen by, the shortest training first."""

    task: TableTask
    by: Yardsticks
    early: Choosing | None
    table: Table

    @property
    def dataset(self) -> str:
        return self.by.choosing.accuracy.dataset

    def rungs(self, kind: str) -> tuple[Choosing, ...]:
        staged = self.early is not None and kind in HALVING
        return (self.early, self.by.choosing) if self.early is not None and staged else (self.by.choosing,)

    def bench(self, kind: str, second: Reals | None = None) -> Bench:
        """What a searcher of `kind` may know; `second` is to be minimised too, multiply-adds if not given."""
        rungs = self.rungs(kind)
        return Bench(
            encodings=self.table.encodings,
            neighbours=self.table.neighbours,
            choose=tuple(one.values for one in rungs),
            seconds=tuple(self.table.seconds_of(one) for one in rungs),
            latency=self.table.macs(self.dataset) if second is None else second,
        )

    def takes(self, run: SamplerRun) -> bool:
        return run.sampler not in HALVING or self.early is not None


@dataclass(frozen=True, eq=False, kw_only=True)
class TabularContext:
    """An experiment on a table, checked. `scores`: by task and name. `latencies`: by device."""

    experiment: TableExperiment
    table: Table
    tasks: tuple[Ready, ...]
    scores: Mapping[tuple[str, str], ScoreColumn]
    latencies: Mapping[str, Reals]
    folder: Path

    def score(self, task: Ready, name: str) -> ScoreColumn | None:
        """None for no name."""
        return self.scores[task.task.name, name] if name else None

    def guidance(self, task: Ready, run: SamplerRun) -> Guidance:
        score = self.score(task, run.proxy_filter or run.warm)
        if score is None:
            return Guidance(tries=run.tries)
        return Guidance(
            tries=run.tries,
            score=score.values,
            pool=run.pool if run.proxy_filter else 0,
            warm=run.warm_count if run.warm else 0,
            sample=run.warm_sample,
            seconds=0.0 if np.isnan(score.seconds) else score.seconds,
        )


def open_table(experiment: TableExperiment, results: Path, path: Path | None) -> TabularContext:
    """Find and check all that `experiment` names; an `AutoMLKDError` says what cannot be done. Writes nothing.

    `path`: of the table, a file or its folder; None asks the environment.
    """
    table = Table.load(find_table(path))
    table.require_whole("a search")
    tasks = tuple(ready(table, task) for task in experiment.table.tasks)
    check_runs(experiment, tasks)
    tradeoff = experiment.table.tradeoff
    return TabularContext(
        experiment=experiment,
        table=table,
        tasks=tasks,
        scores={
            (task.task.name, name): find_score(experiment, table, task, name)
            for task in tasks
            for name in used_scores(experiment)
        },
        latencies={device: table.latency_ms(device) for device in tradeoff.devices},
        folder=results / experiment.name,
    )


def ready(table: Table, task: TableTask) -> Ready:
    by = Yardsticks(table.choosing_named(task.choose), table.reporting_named(task.report))
    if gaps := int(np.isnan(by.reporting.values).sum()):
        raise ConfigError(f"{task.report} has no value for {gaps} architectures; report on one that has all")
    early = table.choosing_named(task.early) if task.early else None
    if early is not None:
        one, other = early.accuracy, by.choosing.accuracy
        if one.dataset != other.dataset or one.epochs >= other.epochs:
            raise ConfigError(
                f"early of task {task.name!r} is {task.early}, which is no shorter training for {task.choose}; name "
                f"{other.dataset}_valid_acc_12, or leave it out"
            )
    return Ready(task, by, early, table)


def check_runs(experiment: TableExperiment, tasks: Sequence[Ready]) -> None:
    """Refuse unknown searchers and options, and searchers that no task can be given to."""
    for run in experiment.table.runs:
        searcher_of(run)
        if not any(task.takes(run) for task in tasks):
            raise ConfigError(
                f"sampler {run.sampler!r} needs a short training beside the long one, and no task has any; give one an "
                "early column, such as cifar10_valid_acc_12"
            )
    for kind in experiment.table.tradeoff.samplers:
        if kind not in PAIRS:
            raise ConfigError(f"table.tradeoff cannot use sampler {kind!r}; {suggestion(kind, PAIRS)}")


def searcher_of(run: SamplerRun) -> TableSampler:
    return make_table_sampler(run.sampler, run.options)


def used_scores(experiment: TableExperiment) -> list[str]:
    """Names of the scores that something goes by, each once."""
    asked = experiment.table
    names = [name for run in asked.runs for name in (run.proxy_filter, run.warm)]
    names += [name for name in asked.training_free.scores if name != "random"]
    return list(dict.fromkeys(filter(None, [*names, asked.tradeoff.proxy_filter])))


def find_score(experiment: TableExperiment, table: Table, task: Ready, name: str) -> ScoreColumn:
    """A score of the table's own, or the one that the experiment says where to find."""
    if name == "params":
        return ScoreColumn(name, table.params(task.dataset), 0.0, "the table's parameters")
    if name == "macs":
        return ScoreColumn(name, table.macs(task.dataset), 0.0, "the table's multiply-adds")
    wanted = experiment.table.scores[name]
    return read_column(
        table,
        locate_score_file(wanted.file, table, name),
        name,
        column=wanted.column or name,
        dataset=wanted.dataset or task.dataset,
        required=bool(wanted.dataset),
        seconds=wanted.seconds,
    )


def locate_score_file(file: str, table: Table, name: str) -> Path:
    """In the working folder, or beside the table."""
    given = expand(file)
    for path in (given, table.path.parent / given):
        if path.exists():
            return path
    raise ConfigError(
        f"table.scores.{name} is to come from {file}, which is neither in {Path.cwd()} nor beside {table.path}; make "
        "it with 'automl-kd score', or leave the score out"
    )
