"""Whole experiments with real trainings, carried out in this process without Ray, to export from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from automl_kd.config import Finalists, SearchSection, to_record
from automl_kd.experiment.context import ExperimentContext, Roots
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.progress.events import Silent
from automl_kd.experiment.stages.finals import entrants, shortlist
from automl_kd.experiment.stages.search import Searching
from automl_kd.experiment.stages.trials import Entrant, ListedTrials
from automl_kd.results.store.folder import open_folder, write_finals
from tests import tiny
from tests.experiment.session import carry_through

ROOMY = {"finalists": Finalists(seeds=(0, 1), count=1, readings=("compute",))}


def carry_out(root: Path, *, trials: int = 2, **changes: Any) -> ExperimentContext:
    """Teacher, search and finals of the tiny experiment with plain KD; `changes`: of its fields."""
    search = SearchSection(sampler="random", trials=trials, scheduler="none")
    experiment = tiny.experiment(**{"method": "kd", "search": search, **ROOMY, **changes})
    context = prepare_experiment(experiment, Roots(results=root / "results", data=root / "data"), Silent())
    open_folder(context.folder, to_record(context.experiment))
    carry_through(ListedTrials(context, [Entrant("teacher", context.teacher_training)], "teacher", "teacher"))
    carry_through(Searching(context))
    finals = entrants(context, shortlist(context.table.read(), 1)[0])
    carry_through(ListedTrials(context, finals, "final", "finals"))
    write_finals(context.folder, [(one.role, one.spec.key) for one in finals])
    rows = context.table.read()
    assert set(rows["status"]) == {"complete"}, list(rows["error"])
    return context
