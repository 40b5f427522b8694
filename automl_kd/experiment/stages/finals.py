"""The baseline comparison: the found student beside its baselines, trained anew with several seeds at equal compute."""

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
from automl_kd.methods import uses_unlabelled
from automl_kd.results import units
from automl_kd.results.statistics.power import seeds_to_show, shown_difference, spread_of_differences
from automl_kd.results.store.folder import write_finals
from automl_kd.results.store.row import FinalRole
from automl_kd.space import Architecture
from automl_kd.spec import TrialSpec, read_schedule

COST_ROUNDING = 1e-9
"""Tolerance in epochs: a quotient may exceed a whole number by rounding alone."""


class Training(NamedTuple):
    """What stands in one line of the baseline comparison, and for how long it is trained."""

    role: FinalRole
    proposal: Proposal
    epochs: int


def shortlist(rows: pd.DataFrame, count: int) -> list[Proposal]:
    """The best `count` complete search trials by the validation accuracy of their last epoch; the smaller of equals."""
    complete = rows[(rows["trial_kind"] == "search") & (rows["status"] == "complete")]
    best = complete.sort_values(["val_accuracy", "params", "key"], ascending=[False, True, True])
    return [proposal_of(*one) for one in zip(*(best[name].head(count) for name in PROPOSAL_COLUMNS), strict=True)]


PROPOSAL_COLUMNS = ("values_json", "method", "options_json", "schedule_json")
"""The columns that identify what a row's trial tried."""


def proposal_of(values: str, method: str, options: str, schedule: str | None) -> Proposal:
    changes = read_schedule("" if pd.isna(schedule) else str(schedule))
    return Proposal(Architecture.of(json.loads(values)), method, json.loads(options), changes)


def choose_finalist(context: ExperimentContext) -> Proposal | None:
    """The found one: of the shortlist, trained again, the best mean on validation. None if the list is empty."""
    candidates = shortlist(context.table.read(), context.experiment.finalists.count)
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    specs = [
        final_spec(context, one, full_length(context), CHOICE_SEEDS + seed)
        for one in candidates
        for seed in context.experiment.finalists.seeds
    ]
    title = f"choice among {len(candidates)} finalists"
    entered = [Entrant("choice", spec) for spec in specs]
    carry_out_all(context, entered, trial_kind="choice", title=title, ahead=work_of_finals(context, chosen=True))
    rows = context.table.read()
    means = mean_validation(rows[rows["key"].isin([spec.key for spec in specs])])
    return max(candidates, key=lambda one: (means.get(one.key, -1.0), -context.cost(one.architecture).params))


def forecast_power(rows: pd.DataFrame, seeds: int) -> str:
    """Which difference the finals can show, by the spread of the choice's trainings; empty where nothing is known."""
    spread = spread_of_differences(list(validation_by_proposal(rows).values()))
    if not spread > 0:
        return ""
    shown = shown_difference(spread, seeds)
    able = f"shows differences from {units.points(shown).removeprefix('+')} points" if seeds > 1 else "shows none"
    return (
        f"by the spread between seeds so far, a comparison of {units.some(seeds, 'seed')} {able}; one point would take "
        f"about {seeds_to_show(0.01, spread)} seeds"
    )


def mean_validation(rows: pd.DataFrame) -> dict[Key, float]:
    """Mean validation accuracy of the complete trials of run "choice", by the keys of proposals."""
    return {key: fmean(accuracies) for key, accuracies in validation_by_proposal(rows).items()}


def validation_by_proposal(rows: pd.DataFrame) -> dict[Key, list[float]]:
    ours = rows[(rows["trial_kind"] == "choice") & (rows["status"] == "complete") & rows["val_accuracy"].notna()]
    found: dict[Key, list[float]] = {}
    for key, accuracy in zip(proposal_keys(ours), ours["val_accuracy"], strict=True):
        found.setdefault(key, []).append(float(accuracy))
    return found


def proposal_keys(rows: pd.DataFrame) -> list[Key]:
    """The key of the proposal that each row's trial tried."""
    columns = [rows[name].astype(str) for name in ("architecture_id", "method", "options_json")]
    schedules = ["" if pd.isna(one) else str(one) for one in rows["schedule_json"]]
    return list(zip(*columns, schedules, strict=True))


def entrants(context: ExperimentContext, found: Proposal) -> list[Entrant]:
    """Four roles, each with every seed: found and default student, each by its baseline training."""
    return [
        Entrant(role, final_spec(context, proposal, epochs, seed))
        for role, proposal, epochs in line_up(context, found)
        for seed in context.experiment.finalists.seeds
    ]


def line_up(context: ExperimentContext, found: Proposal) -> list[Training]:
    """What is compared."""
    default = context.baseline
    budget = full_length(context) * estimate_epoch_macs(
        context, final_spec(context, found, full_length(context), context.experiment.finalists.seeds[0])
    )
    baselines: list[tuple[FinalRole, Proposal]] = [
        ("default-scratch", Proposal(default, "scratch")),
        ("default-kd", plain_kd(context.experiment, default)),
        ("found-scratch", Proposal(found.architecture, "scratch")),
    ]
    trainings = [Training(role, one, equal_epochs(context, budget, one)) for role, one in baselines]
    return [*trainings, Training("found-method", found, full_length(context))]


def final_spec(context: ExperimentContext, proposal: Proposal, epochs: int, seed: int) -> TrialSpec:
    spec = search_spec(context, proposal)
    return dataclasses.replace(spec, recipe=dataclasses.replace(spec.recipe, epochs=epochs), seed=seed)


def full_length(context: ExperimentContext) -> int:
    """Epochs of the found student's training."""
    return context.experiment.finalists.epochs or context.experiment.recipe.epochs


def equal_epochs(context: ExperimentContext, budget: float, proposal: Proposal) -> int:
    """Epochs that cost `budget` multiply-adds by the method's own account.

    Rounded up to whole epochs: a baseline never has less.
    """
    return max(1, math.ceil(budget / price_by_formula(context, proposal) - COST_ROUNDING))


def price_by_formula(context: ExperimentContext, proposal: Proposal) -> float:
    each = proposal.made.macs(context.cost(proposal.architecture).macs, context.teacher_macs)
    dataset = context.dataset.for_transfer if uses_unlabelled(proposal.made) else context.dataset
    return float(len(dataset.train) * each)


def compare(context: ExperimentContext) -> bool:
    """Train the missing trials of the baseline comparison; return False if the search has no complete trial.

    Without a search, the default student trained by the experiment's method counts as the found one.
    """
    experiment = context.experiment
    given = Proposal(context.baseline, experiment.method, experiment.options)
    found = choose_finalist(context) if context.searched.parameters else given
    if found is None:
        return False
    if sentence := forecast_power(context.table.read(), len(experiment.finalists.seeds)):
        context.watcher.note(sentence)
    compared = entrants(context, found)
    trained = "finalists" if context.searched.parameters else "student"
    carry_out_all(context, compared, trial_kind="final", title=f"{trained} and baselines at equal compute", ahead=0.0)
    write_finals(context.folder, [(one.role, one.spec.key) for one in compared])
    return True
