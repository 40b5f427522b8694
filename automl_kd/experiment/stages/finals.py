"""The truth table: the found student beside its baselines, trained anew with several seeds at equal compute."""

from __future__ import annotations

import dataclasses
import json
import math
from statistics import fmean
from typing import NamedTuple

import pandas as pd

from automl_kd.config import CHOICE_SEEDS
from automl_kd.experiment.context import ExperimentContext
from automl_kd.experiment.cost_estimates import estimate_epoch_macs
from automl_kd.experiment.progress.reporter import work_of_finals
from automl_kd.experiment.proposals import Key, Proposal, plain_kd
from automl_kd.experiment.stages.search import search_spec
from automl_kd.experiment.stages.trials import Entrant, carry_out_all
from automl_kd.results.store.folder import write_finals
from automl_kd.results.store.row import FinalRole
from automl_kd.space import Architecture
from automl_kd.spec import TrialSpec, read_schedule

COST_ROUNDING = 1e-9
"""Epochs by which a quotient may exceed a whole number for no other reason than that it was computed in floats."""


class Training(NamedTuple):
    """What stands in one line of the truth table, and for how long it is trained."""

    role: FinalRole
    proposal: Proposal
    epochs: int


def shortlist(rows: pd.DataFrame, count: int) -> list[Proposal]:
    """The best `count` complete search trials by the validation accuracy of their last epoch; the smaller of equals."""
    complete = rows[(rows["run"] == "search") & (rows["status"] == "complete")]
    best = complete.sort_values(["val_accuracy", "params", "key"], ascending=[False, True, True])
    return [proposal_of(*one) for one in zip(*(best[name].head(count) for name in PROPOSAL_COLUMNS), strict=True)]


PROPOSAL_COLUMNS = ("values_json", "method", "options_json", "schedule_json")
"""The columns that say what a row's trial tried."""


def proposal_of(values: str, method: str, options: str, schedule: str | None) -> Proposal:
    changes = read_schedule("" if pd.isna(schedule) else str(schedule))
    return Proposal(Architecture.of(json.loads(values)), method, json.loads(options), changes)


def choose_finalist(lab: ExperimentContext) -> Proposal | None:
    """The found one: of the shortlist, trained again, the best mean on validation. None if the list is empty."""
    candidates = shortlist(lab.table.read(), lab.experiment.finalists.count)
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    specs = [
        final_spec(lab, one, full_length(lab), CHOICE_SEEDS + seed)
        for one in candidates
        for seed in lab.experiment.finalists.seeds
    ]
    title = f"choice among {len(candidates)} finalists"
    entered = [Entrant("choice", spec) for spec in specs]
    carry_out_all(lab, entered, as_run="choice", title=title, ahead=work_of_finals(lab, chosen=True))
    rows = lab.table.read()
    means = mean_validation(rows[rows["key"].isin([spec.key for spec in specs])])
    return max(candidates, key=lambda one: (means.get(one.key, -1.0), -lab.cost(one.architecture).params))


def mean_validation(rows: pd.DataFrame) -> dict[Key, float]:
    """Mean validation accuracy of the complete trials of run "choice", by the keys of proposals."""
    ours = rows[(rows["run"] == "choice") & (rows["status"] == "complete") & rows["val_accuracy"].notna()]
    found: dict[Key, list[float]] = {}
    for key, accuracy in zip(proposal_keys(ours), ours["val_accuracy"], strict=True):
        found.setdefault(key, []).append(float(accuracy))
    return {key: fmean(accuracies) for key, accuracies in found.items()}


def proposal_keys(rows: pd.DataFrame) -> list[Key]:
    """The key of the proposal that each row's trial tried."""
    columns = [rows[name].astype(str) for name in ("architecture", "method", "options_json")]
    schedules = ["" if pd.isna(one) else str(one) for one in rows["schedule_json"]]
    return list(zip(*columns, schedules, strict=True))


def entrants(lab: ExperimentContext, found: Proposal) -> list[Entrant]:
    """Four roles, each with every seed: found and default student, each by its baseline training."""
    return [
        Entrant(role, final_spec(lab, proposal, epochs, seed))
        for role, proposal, epochs in line_up(lab, found)
        for seed in lab.experiment.finalists.seeds
    ]


def line_up(lab: ExperimentContext, found: Proposal) -> list[Training]:
    """What is compared."""
    default = lab.baseline
    budget = full_length(lab) * estimate_epoch_macs(
        lab, final_spec(lab, found, full_length(lab), lab.experiment.finalists.seeds[0])
    )
    baselines: list[tuple[FinalRole, Proposal]] = [
        ("default-scratch", Proposal(default, "scratch")),
        ("default-kd", plain_kd(lab.experiment, default)),
        ("found-scratch", Proposal(found.architecture, "scratch")),
    ]
    trainings = [Training(role, one, equal_epochs(lab, budget, one)) for role, one in baselines]
    return [*trainings, Training("found-method", found, full_length(lab))]


def final_spec(lab: ExperimentContext, proposal: Proposal, epochs: int, seed: int) -> TrialSpec:
    spec = search_spec(lab, proposal)
    return dataclasses.replace(spec, recipe=dataclasses.replace(spec.recipe, epochs=epochs), seed=seed)


def full_length(lab: ExperimentContext) -> int:
    """Epochs of the found student's training."""
    return lab.experiment.finalists.epochs or lab.experiment.recipe.epochs


def equal_epochs(lab: ExperimentContext, budget: float, proposal: Proposal) -> int:
    """Epochs that cost `budget` multiply-adds by the method's own account.

    Rounded up to whole epochs: a baseline never has less.
    """
    return max(1, math.ceil(budget / price_by_formula(lab, proposal) - COST_ROUNDING))


def price_by_formula(lab: ExperimentContext, proposal: Proposal) -> float:
    each = proposal.made.macs(lab.cost(proposal.architecture).macs, lab.teacher_macs)
    return float(len(lab.dataset.train) * each)


def compare(lab: ExperimentContext) -> bool:
    """Train what the truth table needs and is not on record yet; False if the search has no complete trial.

    Where there is nothing to search, the default student taught by the experiment's method is the found one.
    """
    experiment = lab.experiment
    given = Proposal(lab.baseline, experiment.method, experiment.options)
    found = choose_finalist(lab) if lab.searched.parameters else given
    if found is None:
        return False
    compared = entrants(lab, found)
    carry_out_all(lab, compared, as_run="final", title="finalists and baselines at equal compute", ahead=0.0)
    write_finals(lab.folder, [(one.role, one.spec.key) for one in compared])
    return True
