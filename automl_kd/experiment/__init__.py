"""Runs an experiment: its stages in order, each continuing an earlier session. May import `cluster` and below."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Literal

from automl_kd.cluster.lasting_workers import worker_pool
from automl_kd.cluster.sessions.growing import wait_for_resources
from automl_kd.cluster.sessions.interrupts import remembering
from automl_kd.cluster.sessions.session import session, trains_here
from automl_kd.cluster.sessions.sharing import require_shared
from automl_kd.config import Experiment, add_new_fields, to_record
from automl_kd.experiment.context import ExperimentContext, Roots
from automl_kd.experiment.preflight.memory import keep_trials_to_memory
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.progress.events import Watcher
from automl_kd.experiment.progress.steering import Steering, Unsteered
from automl_kd.experiment.stages.comparison import contend
from automl_kd.experiment.stages.finals import compare
from automl_kd.experiment.stages.population import search_by_population
from automl_kd.experiment.stages.preflight import check_teacher_input, keep_preflight
from automl_kd.experiment.stages.search import require_trials, run_search
from automl_kd.experiment.stages.teacher import prepare_teacher
from automl_kd.experiment.stages.text_baselines import keep_text_baselines
from automl_kd.results.store.folder import check_folder, lock, open_folder
from automl_kd.results.store.teacher_shares import write_shares

__all__ = ["ExperimentContext", "Roots", "run_stages"]


UNSTEERED = Unsteered()


def run_stages(
    experiment: Experiment,
    roots: Roots,
    watcher: Watcher,
    *,
    address: str = "",
    accept_teacher: bool = False,
    steering: Steering = UNSTEERED,
) -> ExperimentContext:
    """Run teacher, search and finals, or a comparison of methods; a second call continues.

    Results go to `roots.folder_of(experiment.name)`.
    `address`: a Ray cluster to join; without it (and without RAY_ADDRESS) a private Ray on this machine.
    `accept_teacher`: go on with a teacher that does better under another preprocessing. `steering`: decides how long
    the search goes on and how long its finals are.
    Raises an `AutoMLKDError` for what cannot be carried out, before anything is written, and `KeyboardInterrupt` if
    the user stops it: what has ended is on record.
    """
    context = dataclasses.replace(prepare_experiment(experiment, roots, watcher), steering=steering)
    record = to_record(context.experiment)
    # All checks come before the folder is made.
    upgrade = partial(add_new_fields, Experiment)
    check_folder(context.folder, record, upgrade, context.account)
    require_trials(context)
    watcher.note(context.account["line"])
    preflight = check_teacher_input(context, accept=accept_teacher)
    if trains_here(context.experiment.trial, address):
        context = keep_trials_to_memory(context)
    with remembering(), session(address, context.experiment.trial), worker_pool() as workers:
        with wait_for_resources(context.experiment.trial, 1, watcher.note) as found:
            context = dataclasses.replace(choose_device(context, found.device), workers=workers)
        with lock(context.folder):
            open_folder(context.folder, record, upgrade, context.account)
            keep_preflight(context.folder, preflight)
            if context.shares:
                write_shares(context.folder, context.shares)
            require_shared(context.folder)
            keep_text_baselines(context)
            prepare_teacher(context)
            if context.experiment.comparison.methods:
                contend(context)
            else:
                if context.experiment.search.perturb:
                    search_by_population(context)
                elif context.searched.parameters:
                    run_search(context)
                compare(settle_finals(context))
            context.table.fold()
    return context


def settle_finals(context: ExperimentContext) -> ExperimentContext:
    """The context with the comparison as `steering` wants it, on record in the folder."""
    finalists = context.steering.settle_finals(context)
    if finalists == context.experiment.finalists:
        return context
    changed = dataclasses.replace(context, experiment=dataclasses.replace(context.experiment, finalists=finalists))
    open_folder(context.folder, to_record(changed.experiment), partial(add_new_fields, Experiment), context.account)
    return changed


def choose_device(context: ExperimentContext, device: Literal["auto", "cpu", "cuda"]) -> ExperimentContext:
    """The device is chosen once: machines of a cluster come and go, and trials of one search run on one kind."""
    trial = dataclasses.replace(context.experiment.trial, device=device)
    return dataclasses.replace(context, experiment=dataclasses.replace(context.experiment, trial=trial))
