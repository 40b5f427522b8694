"""The truth table: the found student beside its baselines, trained anew with several seeds at equal compute."""

from __future__ import annotations

import dataclasses
import json
import math

import pandas as pd

from automl_kd.experiment.lab import Lab
from automl_kd.experiment.search import search_spec
from automl_kd.experiment.trials import Entrant, carry_out_all
from automl_kd.methods import make_method
from automl_kd.results.row import FinalRole
from automl_kd.space import Architecture
from automl_kd.spec import TrialSpec


def choose(rows: pd.DataFrame) -> Architecture | None:
    """The finalist: of the complete search trials the best on validation, then the smaller; None if there is none.

    Looks at the accuracy of the last epoch, as is reported of the finalists.
    """
    complete = rows[(rows["run"] == "search") & (rows["status"] == "complete")]
    if complete.empty:
        return None
    best = complete.sort_values(["val_accuracy", "params", "key"], ascending=[False, True, True]).iloc[0]
    return Architecture.of(json.loads(best["values_json"]))


def entrants(lab: Lab, found: Architecture) -> list[Entrant]:
    """Four roles, each with every seed: found and default student, each by its baseline training."""
    default, method = lab.baseline, lab.experiment.method
    line_up: list[tuple[FinalRole, Architecture, str]] = [
        ("default-scratch", default, "scratch"),
        ("default-kd", default, "kd"),
        ("found-scratch", found, "scratch"),
        ("found-method", found, method),
    ]
    return [
        Entrant(role, final_spec(lab, found, architecture, name, seed))
        for role, architecture, name in line_up
        for seed in lab.experiment.finalists.seeds
    ]


def final_spec(lab: Lab, found: Architecture, architecture: Architecture, method: str, seed: int) -> TrialSpec:
    """A finalist's trial, as long as the compute of the found student's training allows.

    Plain KD keeps the experiment's options if that is its method, and has its defaults otherwise.
    """
    experiment = lab.experiment
    spec = search_spec(lab, architecture)
    taught = make_method(method, {}).taught
    recipe = dataclasses.replace(experiment.recipe, epochs=equal_epochs(lab, found, architecture, method))
    return dataclasses.replace(
        spec,
        method=method,
        options=experiment.options if method == experiment.method else {},
        teacher=experiment.teacher if taught else None,
        recipe=recipe,
        seed=seed,
    )


def equal_epochs(lab: Lab, found: Architecture, architecture: Architecture, method: str) -> int:
    """Epochs of `method` on `architecture` that cost the multiply-adds of the found student's training.

    Rounded up to whole epochs: a baseline never has less.
    """
    whole = lab.experiment.finalists.epochs or lab.experiment.recipe.epochs
    budget = whole * lab.method.macs(lab.cost(found).macs, lab.teacher_macs)
    each = make_method(method, {}).macs(lab.cost(architecture).macs, lab.teacher_macs)
    return math.ceil(budget / each)


def compare(lab: Lab) -> bool:
    """Train what the truth table needs and is not on record yet; False if the search has no complete trial.

    Where there is nothing to search, the default student is the found one.
    """
    found = choose(lab.table.read()) if lab.space.parameters else lab.baseline
    if found is None:
        return False
    carry_out_all(lab, entrants(lab, found), as_run="final", title="finalists and baselines at equal compute")
    return True
