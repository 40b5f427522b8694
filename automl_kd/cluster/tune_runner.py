"""Ray Tune as the runner of everything that trains."""

from __future__ import annotations

import contextlib
import logging
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from ray import tune

from automl_kd.cluster.loggers import make_loggers
from automl_kd.cluster.schedulers import at_once, make_scheduler
from automl_kd.cluster.searcher import Ask, AssignmentSearcher, Curve, Metrics, from_config
from automl_kd.cluster.session import share
from automl_kd.config import Resources, Search
from automl_kd.errors import StopTrial
from automl_kd.methods import carry_out
from automl_kd.spec import Outcome, TrialSpec


def work(config: Mapping[str, Any]) -> None:
    """One trial in a worker process. Whatever goes wrong in it is reported, so that the search goes on."""
    assignment = from_config(config)
    torch.set_num_threads(int(config["threads"]))

    def report(metrics: Metrics, *, epoch: int) -> None:
        tune.report({**metrics, "epoch": epoch})
        if epoch == assignment.until:
            raise StopTrial

    if assignment.replay is not None:
        for epoch, metrics in enumerate(assignment.replay, start=1):
            report(metrics, epoch=epoch)
        return
    try:
        with contextlib.suppress(StopTrial):
            carry_out(assignment.spec, report, assignment.place)
    except torch.AcceleratorError:  # the device is lost to this process: let it die, and a new one try again
        raise
    except Exception as error:  # the one place that catches everything (errors.py)
        tune.report({"error": f"{type(error).__name__}: {error}"})


def run(
    ask: Ask,
    *,
    on_epoch: Callable[[TrialSpec, Metrics, int], None],
    on_outcome: Callable[[TrialSpec, Outcome, Curve], None],
    resources: Resources,
    search: Search | None,
    epochs: int,
    scratch: Path,
) -> None:
    """Carry out what `ask(0)`, `ask(1)`, ... assign, until it gives None.

    `search`: its scheduler ends trials early; None lets each run to its end. `epochs`: the longest trial.
    `scratch`: a folder for Tune's own files, shared by all nodes, and for one run at a time; what is put there is
    removed again, by the next run if this one is killed.
    Calls back in this process only. `KeyboardInterrupt` if the user interrupted it: what has ended is recorded, and the
    same call continues.
    """
    searcher = AssignmentSearcher(ask, on_epoch, on_outcome)
    for left_behind in scratch.glob("tune-*"):
        shutil.rmtree(left_behind, ignore_errors=True)
    own = scratch / f"tune-{uuid.uuid4().hex[:8]}"
    try:
        with quiet():
            tuner = tune.Tuner(
                tune.with_resources(work, share(resources)),
                param_space={"threads": resources.cpus},
                tune_config=tune.TuneConfig(
                    search_alg=searcher,
                    scheduler=make_scheduler(search, epochs),
                    num_samples=-1,
                    max_concurrent_trials=at_once(search, resources),
                    reuse_actors=True,
                ),
                run_config=tune.RunConfig(
                    name=own.name,
                    storage_path=str(scratch),
                    verbose=0,
                    callbacks=make_loggers(resources.loggers, scratch),
                    failure_config=tune.FailureConfig(max_failures=resources.retries),
                ),
            )
            tuner.fit()
    finally:
        shutil.rmtree(own, ignore_errors=True)
    if searcher.failure is not None:
        raise searcher.failure
    if searcher.live or not searcher.finished:
        raise KeyboardInterrupt


@contextlib.contextmanager
def quiet() -> Any:
    """Ray's own log lines below errors are not for our users."""
    loggers = [logging.getLogger(name) for name in ("ray", "ray.tune", "ray.data", "ray.train")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
