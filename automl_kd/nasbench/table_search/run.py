"""Searches of a NAS-Bench-201 table: in the calling process, all seeds of a search at once, one search after another.

Each search's result is on disk when it ends, under a key made of all that it depends on, so that a run that was
interrupted continues, and a changed setting is searched anew.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from automl_kd import spec_names
from automl_kd.config import add_new_fields, to_record
from automl_kd.experiment.context import Roots
from automl_kd.experiment.progress.events import Watcher
from automl_kd.experiment.records import device_name, git_commit, versions
from automl_kd.hashing import hash_json
from automl_kd.nasbench.config import SamplerRun, TableExperiment
from automl_kd.nasbench.samplers import Guidance, explore, make_table_sampler
from automl_kd.nasbench.table.columns import Reals
from automl_kd.nasbench.table_search import regret
from automl_kd.nasbench.table_search.preparation import Ready, TabularContext, open_table, searcher_of
from automl_kd.nasbench.table_search.record import (
    RecordKind,
    read_searches,
    record_file,
    write_facts,
    write_search,
)
from automl_kd.nasbench.table_search.training_free import by_score, by_training, time_to_target
from automl_kd.results.store.folder import check_folder, lock, open_folder

TABULAR_VERSION = 1
"""Part of every key; raised when a search comes to mean something else."""

CURVE_POINTS = 40
"""Points of a curve along each axis, besides those at which searches are compared."""


@dataclass(frozen=True)
class TabularPiece:
    """One search and how to carry it out."""

    kind: RecordKind
    title: str
    key: str
    make: Callable[[], pd.DataFrame]


def run_table(experiment: TableExperiment, roots: Roots, watcher: Watcher, *, path: Path | None = None) -> Path:
    """Carry out all searches of `experiment.table`; called again, only those that are not on disk. The folder.

    `path`: of the table, a file or its folder; None asks the environment. Raises an `AutoMLKDError` for what cannot be
    carried out, before anything is written.
    """
    context = open_table(experiment, roots.results, path)
    record = to_record(context.experiment)
    upgrade = partial(add_new_fields, TableExperiment)
    check_folder(context.folder, record, upgrade)
    pieces = list(tabular_pieces(context))
    with lock(context.folder):
        open_folder(context.folder, record, upgrade)
        watcher.stage("searches of the table", len(pieces), "searches")
        for done, piece in enumerate(pieces):
            watcher.step(done, piece.title)
            if not record_file(context.folder, piece.kind, piece.key).exists():
                write_search(context.folder, piece.kind, piece.key, piece.make())
        write_facts(context.folder, run_facts(context, pieces))
    return context.folder


def tabular_pieces(context: TabularContext) -> Iterator[TabularPiece]:
    """All searches in the order in which they are shown."""
    asked = context.experiment.table
    for task in context.tasks:
        for run in asked.runs:
            if task.takes(run):
                yield search_piece(context, task, run)
    for task in context.tasks if asked.training_free.scores else ():
        for name in ("", *asked.training_free.scores):
            yield search_training_free(context, task, name)
    for device in asked.tradeoff.devices:
        for kind in asked.tradeoff.samplers:
            for screen in dict.fromkeys(("", asked.tradeoff.proxy_filter)):
                yield front_piece(context, device, kind, screen)


def key_of(context: TabularContext, task: Ready, *settings: object) -> str:
    """Of everything that a search's result depends on."""
    bench = task.bench("asha")
    columns = (*bench.choose, *bench.seconds, bench.losses, task.by.reporting.values)
    digests = [hashlib.sha256(one.tobytes()).hexdigest() for one in columns]
    return hash_json([TABULAR_VERSION, context.experiment.seed, asdict(task.task), digests, *settings])


def score_digest(context: TabularContext, task: Ready, name: str) -> str:
    score = context.score(task, name)
    return "" if score is None else score.digest


def seeds_of(context: TabularContext, count: int = 0) -> list[int]:
    first = context.experiment.seed
    return list(range(first, first + (count or context.experiment.table.seeds)))


def search_piece(context: TabularContext, task: Ready, run: SamplerRun) -> TabularPiece:
    asked = context.experiment.table
    seeds, queries = seeds_of(context, run.seeds), run.trials or asked.trials
    settings = (
        spec_names.stored_section(("table", "runs", "*"), asdict(run)),
        len(seeds),
        queries,
        asked.compare,
        score_digest(context, task, run.proxy_filter or run.warm),
    )

    def make() -> pd.DataFrame:
        history = explore(
            searcher_of(run),
            task.bench(run.sampler),
            seeds,
            queries,
            seconds=3600 * run.hours or np.inf,
            guidance=context.guidance(task, run),
        )
        held = regret.incumbents(history.rows, history.rungs, task.rungs(run.sampler))
        questions = [mark for mark in query_marks(queries, asked.compare) if mark <= held.shape[1]]
        hours = hour_marks(task.task.hours)
        at_hours = regret.at_seconds(held, history.seconds, [3600 * mark for mark in hours])
        frames = [
            regret.curve_frame(seeds, questions, held[:, [mark - 1 for mark in questions]], task.by, "queries"),
            regret.curve_frame(seeds, hours, at_hours, task.by, "hours"),
        ]
        return pd.concat(frames, ignore_index=True).assign(task=task.task.name, search=run.title)

    return TabularPiece(
        "searches", f"{task.task.name}: {run.title}", key_of(context, task, "searched", *settings), make
    )


def search_training_free(context: TabularContext, task: Ready, name: str) -> TabularPiece:
    """Evolution by the score `name`; without a name by training, which it is compared with."""
    settings, seeds = context.experiment.table.training_free, seeds_of(context)
    score = None if name == "random" else context.score(task, name)

    def make() -> pd.DataFrame:
        frame = by_score(task, settings, seeds, score) if name else by_training(task, settings, seeds)[0]
        return frame.assign(task=task.task.name, search=name)

    digest = "" if score is None else score.digest
    key = key_of(
        context,
        task,
        "untrained",
        name,
        spec_names.stored_section(("table", "training_free"), asdict(settings)) | {"scores": ""},
        len(seeds),
        digest,
    )
    return TabularPiece("untrained", f"{task.task.name}: led by {name or 'training'}", key, make)


def front_piece(context: TabularContext, device: str, kind: str, screen: str) -> TabularPiece:
    """The first task's accuracy against latency on one device."""
    task, settings, seeds = context.tasks[0], context.experiment.table.tradeoff, seeds_of(context)
    latency, score = context.latencies[device], context.score(task, screen)
    title = f"{kind}, screened by {screen}" if screen else kind

    def make() -> pd.DataFrame:
        guidance = Guidance() if score is None else Guidance(score=score.values, pool=settings.pool)
        history = explore(
            make_table_sampler(kind, {}), task.bench(kind, latency), seeds, settings.trials, guidance=guidance
        )
        extent = regret.extent_of(task.by.reporting, latency, settings.points / 100)
        marks = query_marks(settings.trials, context.experiment.table.compare)
        volumes = np.stack(
            [regret.hypervolume(history.rows[:, :mark], task.by, latency, extent) for mark in marks], axis=1
        )
        frame = pd.DataFrame({"seed": np.repeat(seeds, len(marks)), "at": np.tile(marks, len(seeds)).astype(float)})
        return frame.assign(hypervolume=volumes.ravel(), task=task.task.name, search=title, device=device)

    digests = [hashlib.sha256(latency.tobytes()).hexdigest(), score_digest(context, task, screen)]
    numbers = (settings.trials, settings.pool, settings.points, len(seeds), context.experiment.table.compare)
    key = key_of(context, task, "fronts", device, kind, screen, *numbers, *digests)
    return TabularPiece("fronts", f"{device}: {title}", key, make)


def query_marks(queries: int, compare: tuple[int, ...]) -> list[int]:
    grid = np.unique(np.round(np.geomspace(1, queries, CURVE_POINTS)).astype(int))
    return sorted({*grid.tolist(), *(mark for mark in compare if mark <= queries)})


def hour_marks(hours: tuple[float, ...]) -> list[float]:
    """From a fiftieth of the last time on."""
    grid = np.geomspace(hours[-1] / 50, hours[-1], CURVE_POINTS)
    # The end of the grid is the last of `hours` but for rounding.
    return sorted({*(round(float(mark), 6) for mark in grid[:-1]), *hours})


def run_facts(context: TabularContext, pieces: list[TabularPiece]) -> dict[str, Any]:
    """What the report says beside the rows."""
    asked, path = context.experiment.table, context.table.path
    kinds: tuple[RecordKind, ...] = ("searches", "fronts", "untrained")
    parts = {kind: [piece.key for piece in pieces if piece.kind == kind] for kind in kinds}
    found = read_searches(context.folder, "untrained", parts["untrained"])
    return {
        "name": context.experiment.name,
        "parts": parts,
        "compare": list(asked.compare),
        "runs": [{"search": run.title, "kind": run.sampler, "aid": run.aid} for run in asked.runs],
        "tasks": [task_facts(context, task, found[found["task"] == task.task.name]) for task in context.tasks],
        "untrained": spec_names.stored_section(("table", "training_free"), asdict(asked.training_free)),
        "devices": [device_facts(context, device, latency) for device, latency in context.latencies.items()],
        "provenance": {
            "finished (UTC)": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
            "table": f"{path.name}, SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}",
            "device": device_name("cpu"),
            "commit": git_commit() or "unknown",
            "versions": ", ".join(f"{name} {version}" for name, version in json.loads(versions()).items()),
        },
    }


def task_facts(context: TabularContext, task: Ready, found: pd.DataFrame) -> dict[str, Any]:
    """`found`: what untrained searches came to on this task."""
    asked = context.experiment.table
    columns = [score for (name, _), score in context.scores.items() if name == task.task.name]
    return {
        "name": task.task.name,
        "statement": task.by.statement,
        "early": task.early.accuracy.statement if task.early else "",
        "best": task.by.reporting.best,
        "best_chosen": float(task.by.reporting.values[int(task.by.choosing.values.argmax())]),
        "hours": list(task.task.hours),
        "left_out": [run.title for run in asked.runs if not task.takes(run)],
        "scores": [
            {
                "name": one.name,
                "source": one.source,
                "missing": one.missing,
                "seconds": None if np.isnan(one.seconds) else one.seconds,
            }
            for one in columns
        ],
        "reached": time_to_target(task, asked.training_free, seeds_of(context), found),
    }


def device_facts(context: TabularContext, device: str, latency: Reals) -> dict[str, Any]:
    extent = regret.extent_of(context.tasks[0].by.reporting, latency, context.experiment.table.tradeoff.points / 100)
    return {"name": device, "absent": int(np.isnan(latency).sum()), **extent._asdict()}
