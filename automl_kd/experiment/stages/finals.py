"""The baseline comparison: the found student beside its baselines, trained anew with several seeds.

Each reading of `stages/lengths.py` makes something else equal: what a baseline is trained for follows from it.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

import pandas as pd

from automl_kd.config import CHOICE_SEEDS
from automl_kd.experiment.context import ExperimentContext
from automl_kd.experiment.cost_estimates import estimate_epoch_macs
from automl_kd.experiment.progress.reporter import work_of_finals
from automl_kd.experiment.proposals import Key, Proposal, by_labels_alone, from_fresh_weights, plain_kd, without_teacher
from automl_kd.experiment.stages.lengths import (
    UNSHARED,
    Cost,
    Length,
    fitting_length,
    images_of,
    merge_lengths,
    recipe_length,
    shared_teachers,
    whole_length_above,
)
from automl_kd.experiment.stages.search import search_spec
from automl_kd.experiment.stages.trials import Entrant, carry_out_all
from automl_kd.results import units
from automl_kd.results.statistics.power import seeds_to_show, shown_difference, spread_of_differences
from automl_kd.results.store.folder import write_finals
from automl_kd.space import Architecture
from automl_kd.spec import FOUND_FRESH, FOUND_LABELS, BaselineRole, FinalRole, ReadingName, TrialSpec, read_schedule


class Training(NamedTuple):
    """What is trained for the baseline comparison, for how long, and in which readings it stands."""

    role: FinalRole
    proposal: Proposal
    length: Length
    readings: tuple[ReadingName, ...]


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
    """The found one: of the shortlist, trained again, the best mean on validation. None if the list is empty.

    One that failed with a seed with which others came through stands behind these: it may fail again.
    """
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
    known = validation_by_proposal(rows[rows["key"].isin([spec.key for spec in specs])])
    smallest = sorted(candidates, key=lambda one: context.cost(one.architecture).params)
    return max(smallest, key=lambda one: reliable_mean(known.get(one.key, [])))


def reliable_mean(accuracies: Sequence[float]) -> tuple[int, float]:
    """What a finalist is chosen by: first how many seeds came through, then their mean."""
    return len(accuracies), fmean(accuracies) if accuracies else -math.inf


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


def validation_by_proposal(rows: pd.DataFrame) -> dict[Key, list[float]]:
    """Validation accuracies of the complete trials of run "choice", by the keys of proposals."""
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
    """Each training of the line-up with every seed."""
    return [
        Entrant(
            one.role, final_spec(context, one.proposal, one.length, seed), readings=dict.fromkeys(one.readings, 1.0)
        )
        for one in line_up(context, found)
        for seed in context.experiment.finalists.seeds
    ]


def line_up(context: ExperimentContext, found: Proposal) -> list[Training]:
    """The baselines that are asked for, at the lengths of all readings, and the found student."""
    default, settings = context.baseline, context.experiment.finalists
    proposals: dict[BaselineRole, Proposal | None] = {
        "default-scratch": Proposal(default, "scratch"),
        "default-kd": plain_kd(context.experiment, default),
        "found-scratch": without_teacher(found),
        FOUND_LABELS: by_labels_alone(context.experiment, found),
        FOUND_FRESH: from_fresh_weights(context.experiment, found),
    }
    baselines = {role: one for role, one in proposals.items() if one is not None and role in settings.baselines}
    trainings = [
        Training(role, one, length, tuple(served))
        for role, one in baselines.items()
        for length, served in merge_lengths(baseline_lengths(context, found, baselines, one)).items()
    ]
    return [*trainings, Training("found-method", found, full_length(context), settings.readings)]


def baseline_lengths(
    context: ExperimentContext, found: Proposal, baselines: Mapping[BaselineRole, Proposal], one: Proposal
) -> dict[ReadingName, Length]:
    """How long the baseline `one` is trained in each reading."""
    settings, full = context.experiment.finalists, full_length(context)
    trained = {str((other.key, other.init)): other.made for other in (*baselines.values(), found)}
    shared = shared_teachers(context, trained, len(settings.seeds))
    ours, theirs = (shared[str((other.key, other.init))] for other in (one, found))
    budget = full.passes * estimate_epoch_macs(context, final_spec(context, found, full, settings.seeds[0]))
    price = price_of_epoch(context, one, found)
    images = [len(images_of(context, other.made).train) for other in (found, one)]
    fitted: dict[ReadingName, Callable[[], Length]] = {
        "compute": lambda: equal_length(context, budget, UNSHARED.cost(price)),
        "shared-teacher": lambda: equal_length(context, budget - theirs.saved(full), ours.cost(price)),
        "epochs": lambda: equal_length(context, full.passes * images[0], lambda length: length.passes * images[1]),
    }
    return {reading: fitted[reading]() for reading in settings.readings}


def equal_length(context: ExperimentContext, budget: float, cost: Cost) -> Length:
    """The length of a baseline that comes to `budget`; of whole epochs the fewest, so that it never has less."""
    if context.experiment.finalists.whole_epochs:
        return whole_length_above(budget, cost)
    return fitting_length(budget, cost, full_length(context))


def price_of_epoch(context: ExperimentContext, one: Proposal, found: Proposal) -> float:
    """Multiply-adds of an epoch: by formula of plain ways of teaching, else as the found student's are known.

    Formulas know nothing of layers that losses have of their own, or of searches inside a method.
    """
    if one.method != found.method or one.method in EXACT_FORMULAS:
        return price_by_formula(context, one)
    return estimate_epoch_macs(context, final_spec(context, one, full_length(context), 0))


EXACT_FORMULAS = {"scratch", "kd"}
"""Methods whose formula is all that a training takes."""


def price_by_formula(context: ExperimentContext, proposal: Proposal) -> float:
    """Multiply-adds of an epoch by the method's own account."""
    each = proposal.made.macs(context.training_macs(proposal.architecture), context.teacher_macs)
    return float(len(images_of(context, proposal.made).train) * each)


def final_spec(context: ExperimentContext, proposal: Proposal, length: Length, seed: int) -> TrialSpec:
    spec = search_spec(context, proposal)
    return dataclasses.replace(spec, recipe=length.applied(spec.recipe), seed=seed)


def full_length(context: ExperimentContext) -> Length:
    """Of the found student's training."""
    own = context.experiment.finalists.epochs
    return Length(own) if own else recipe_length(context.experiment.recipe)


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
    title = f"{trained} and baselines" if experiment.finalists.baselines else f"{trained}, without baselines"
    carry_out_all(context, compared, trial_kind="final", title=title, ahead=0.0)
    write_finals(context.folder, [(one.role, one.spec.key) for one in compared])
    return True
