"""Runs all trainings by Ray Tune."""

from __future__ import annotations

import contextlib
import logging
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from ray import tune

from automl_kd.cluster.card import give_back, keep_to
from automl_kd.cluster.distributed_trial import launch, make_rooms
from automl_kd.cluster.failures import PASSING, failure_kind_of, limited, lost_device, overdue
from automl_kd.cluster.last_epoch import complete_report
from automl_kd.cluster.lasting_workers import WorkerPool, workers_of
from automl_kd.cluster.loggers import make_loggers
from automl_kd.cluster.schedulers import Forward, make_scheduler, max_unfinished_trials
from automl_kd.cluster.sessions.growing import Say, remembered, wait_for_resources
from automl_kd.cluster.sessions.interrupts import interruptible
from automl_kd.cluster.sessions.private import explain_full_disk, is_full, own_folder
from automl_kd.cluster.sessions.session import each_worker, resources_per_trial
from automl_kd.cluster.tune_searcher import Ask, AssignmentSearcher, Curve, Failure, Metrics, from_config
from automl_kd.config import Resources, SearchSection
from automl_kd.errors import AutoMLKDError, ResultError, StopTrial
from automl_kd.methods import run_trial
from automl_kd.results.store.folder import require_disk_space, require_there, require_writable
from automl_kd.spec import Outcome, TrialSpec

BEGUN_AT_ONCE = 10_000
"""Trials whose workers Tune starts at the same time; our searcher decides how many begin. Without a number: one."""


class SilentReporter(tune.ProgressReporter):  # type: ignore[misc]  # ray is untyped here
    """Leaves progress to us. Tune's own reporter clears what a notebook's cell has printed, however quiet (2.60)."""

    def should_report(self, trials: list[Any], done: bool = False) -> bool:  # noqa: ARG002 - Tune's signature
        return False

    def report(self, trials: list[Any], done: bool, *sys_info: dict[str, Any]) -> None:
        """Never asked for."""


def work(config: Mapping[str, Any]) -> None:
    """One trial, in this process or in workers that it launches. What goes wrong is reported, so the search goes on.

    What may pass is raised as well, so that Tune starts the trial again, from its checkpoint and in another process.
    """
    assignment = from_config(config)

    def report(metrics: Metrics, *, epoch: int) -> None:
        tune.report(complete_report(assignment, metrics, epoch))
        if epoch == assignment.until:
            raise StopTrial

    if late := overdue(assignment.paths.trial):  # its last attempt, which is why it has this one
        tune.report(Failure(late, "timeout")._asdict())
        return
    if config["workers"] > 1:
        launch(config)
        return
    torch.set_num_threads(int(config["threads"]))
    keep_to(config["each"].get("GPU", 0.0))
    try:
        with contextlib.suppress(StopTrial), limited(assignment.paths.trial, config["timeout"]):
            run_trial(assignment.spec, report, assignment.paths)
    except Exception as error:  # the one place that catches everything (errors.py)
        if lost_device(error):
            raise
        failure_kind = failure_kind_of(error)
        tune.report(Failure(f"{type(error).__name__}: {error}", failure_kind)._asdict())
        if failure_kind in PASSING:
            raise
    finally:
        give_back()


def run_trials(
    ask: Ask,
    *,
    on_epoch: Callable[[TrialSpec, Metrics, int], None],
    on_outcome: Callable[[TrialSpec, Outcome, Curve], None],
    resources: Resources,
    search: SearchSection | None,
    epochs: int,
    scratch: Path,
    trials: int = 1,
    say: Say = lambda _: None,
    workers: WorkerPool | None = None,
) -> None:
    """Run the trials that `ask(0)`, `ask(1)`, ... assign, until it returns None.

    `search`: its scheduler ends trials early; None lets each run to its end. `epochs`: the longest trial.
    `scratch`: a folder for Tune's own files, shared by all nodes, and for one run at a time; what is put there is
    removed again, by the next run if this one is killed. `trials`: at most so many, for which a cluster that can starts
    machines; `say` is called if the run must wait for them. `workers`: where they are taken from, and left for the next
    run; those of trials with several workers are ended.
    Calls back in this process only. `KeyboardInterrupt` if the user interrupted it: what has ended is recorded, and the
    same call continues.
    """
    with wait_for_resources(resources, trials, say) as found:
        rooms = make_rooms() if found.workers > 1 else None
        scheduler = make_scheduler(search, epochs)

        def ended(spec: TrialSpec, outcome: Outcome, curve: Curve) -> None:
            if rooms is not None:
                rooms.free.remote(spec.key)
            on_outcome(spec, outcome, curve)

        room = remembered(lambda: max_unfinished_trials(search, found))
        searcher = AssignmentSearcher(ask, on_epoch, ended, room, scheduler)
        with workers_of(workers if found.workers == 1 else None, each_worker(found)):
            tune_trials(searcher, scheduler, found, scratch, {"rooms": rooms})
    if searcher.failure is not None:
        raise searcher.failure
    if searcher.live or not searcher.finished:
        raise KeyboardInterrupt


def tune_trials(
    searcher: AssignmentSearcher,
    scheduler: Forward | None,
    resources: Resources,
    scratch: Path,
    shared_params: Mapping[str, Any],
) -> None:
    """Let Tune run the searcher's trials; `shared_params`: to each trial."""
    for left_behind in scratch.glob("tune-*"):
        shutil.rmtree(left_behind, ignore_errors=True)
    own = scratch / f"tune-{uuid.uuid4().hex[:8]}"
    limit = None if scheduler is not None and scheduler.pauses else BEGUN_AT_ONCE
    try:
        with silence_ray(), blamed(searcher, own), interruptible():
            tuner = tune.Tuner(
                tune.with_resources(work, resources_per_trial(resources)),
                param_space={**to_worker(resources, own), **shared_params},
                tune_config=tune.TuneConfig(
                    search_alg=searcher,
                    scheduler=scheduler,
                    num_samples=-1,
                    max_concurrent_trials=limit,
                    reuse_actors=resources.workers == 1,  # a launcher leaves its workers to their own end
                ),
                run_config=tune.RunConfig(
                    name=own.name,
                    storage_path=str(scratch),
                    verbose=0,
                    progress_reporter=SilentReporter(),
                    callbacks=make_loggers(resources.loggers, scratch),
                    failure_config=tune.FailureConfig(max_failures=resources.retries),
                ),
            )
            tuner.fit()
    finally:
        shutil.rmtree(own, ignore_errors=True)


def to_worker(resources: Resources, storage: Path) -> dict[str, Any]:
    """What each trial must know besides its assignment."""
    return {
        "threads": resources.cpus,
        "workers": resources.workers,
        "each": each_worker(resources),
        "placement": resources.placement.upper(),
        "retries": resources.retries,
        "timeout": 60 * resources.timeout_minutes,
        "storage": str(storage),
    }


@contextlib.contextmanager
def blamed(searcher: AssignmentSearcher, own: Path) -> Iterator[None]:
    """Replace Tune's follow-up errors by the failure that caused them, or by a full or missing file system."""
    try:
        yield
    except AutoMLKDError:
        raise
    except Exception as error:
        if searcher.failure is not None:
            raise searcher.failure from error
        require_there(own)
        require_disk_space(require_writable(own))
        if is_full(folder := own_folder()):
            raise ResultError(explain_full_disk(folder)) from error
        raise


@contextlib.contextmanager
def silence_ray() -> Iterator[None]:
    """Silence Ray's own log lines: we report or raise what went wrong."""
    loggers = [logging.getLogger(name) for name in ("ray", "ray.tune", "ray.data", "ray.train")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
