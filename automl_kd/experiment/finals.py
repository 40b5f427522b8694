"""The truth table: the found student beside its baselines, trained anew with several seeds at equal compute."""

from __future__ import annotations

import dataclasses
import json
import math

import pandas as pd

from automl_kd.config import SEEDS
from automl_kd.experiment.lab import Lab
from automl_kd.experiment.search import search_spec
from automl_kd.experiment.trials import Entrant, carry_out_all
from automl_kd.methods import make_method
from automl_kd.results.folder import write_finals
from automl_kd.results.row import FinalRole
from automl_kd.space import Architecture
from automl_kd.spec import TrialSpec

CHOICE_SEEDS = SEEDS
"""Added to a final seed for the choice among finalists: what is reported is not what was chosen by."""


def shortlist(rows: pd.DataFrame, count: int) -> list[Architecture]:
    """The best `count` complete search trials by the validation accuracy of their last epoch; the smaller of equals."""
    complete = rows[(rows["run"] == "search") & (rows["status"] == "complete")]
    best = complete.sort_values(["val_accuracy", "params", "key"], ascending=[False, True, True])
    return [Architecture.of(json.loads(text)) for text in best["values_json"].head(count)]


def choose(lab: Lab) -> Architecture | None:
    """The found student: of the shortlist, trained again, the best mean on validation. None if the list is empty."""
    candidates = shortlist(lab.table.read(), lab.experiment.finalists.count)
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    specs = [
        final_spec(lab, one, one, lab.experiment.method, CHOICE_SEEDS + seed)
        for one in candidates
        for seed in lab.experiment.finalists.seeds
    ]
    title = f"choice among {len(candidates)} finalists"
    carry_out_all(lab, [Entrant("choice", spec) for spec in specs], as_run="choice", title=title)
    rows = lab.table.read()
    means = mean_validation(rows[rows["key"].isin([spec.key for spec in specs])])
    return max(candidates, key=lambda one: (means.get(one.key, -1.0), -lab.cost(one).params))


def mean_validation(rows: pd.DataFrame) -> dict[str, float]:
    """Mean validation accuracy of the complete trials of run "choice", by architecture."""
    ours = rows[(rows["run"] == "choice") & (rows["status"] == "complete")]
    return {str(key): float(mean) for key, mean in ours.groupby("architecture")["val_accuracy"].mean().items()}


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
    found = choose(lab) if lab.space.parameters else lab.baseline
    if found is None:
        return False
    line_up = entrants(lab, found)
    carry_out_all(lab, line_up, as_run="final", title="finalists and baselines at equal compute")
    write_finals(lab.folder, [(one.role, one.spec.key) for one in line_up])
    return True
