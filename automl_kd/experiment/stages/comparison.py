"""The comparison stage: methods are tuned on validation, then trained at equal compute."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from automl_kd.config import CHOICE_SEEDS, MethodEntry
from automl_kd.experiment.context import ExperimentContext
from automl_kd.experiment.cost_estimates import estimate_epoch_macs
from automl_kd.experiment.proposals import init_of
from automl_kd.experiment.stages.trials import Entrant, carry_out_all
from automl_kd.methods import make_method
from automl_kd.results.store.folder import write_finals
from automl_kd.space import Scalar
from automl_kd.spec import FROM_TEACHER, TrialSpec

SLACK = 0.05
"""How far a method may exceed its share of compute, so that a small surcharge does not cost an epoch."""


class Candidate(NamedTuple):
    """A compared method with one of its combinations of options."""

    method_entry: MethodEntry
    options: Mapping[str, Scalar]


def contend(context: ExperimentContext) -> None:
    """Choose every method's options where there is a choice, then train all methods with every seed."""
    tried = {
        one.name: [Candidate(one, options) for options in one.combinations]
        for one in context.experiment.comparison.methods
    }
    context.watcher.stage("cost of each candidate", sum(map(len, tried.values())), "candidates")
    reference = tried[context.experiment.comparison.reference][0]
    unit = estimate_epoch_macs(
        context, trial(context, reference, context.experiment.recipe.epochs, context.experiment.finalists.seeds[0])
    )
    chosen, attempts = choose_options(context, tried, unit)
    line_up = [one for candidate in chosen for one in finals(context, candidate, unit)]
    carry_out_all(context, line_up, trial_kind="final", title="finals at equal compute", ahead=0.0)
    write_finals(context.folder, role_keys(line_up), choice=role_keys(attempts))


def role_keys(entrants: list[Entrant]) -> list[tuple[str, str]]:
    return [(one.role, one.spec.key) for one in entrants]


def choose_options(
    context: ExperimentContext, tried: Mapping[str, list[Candidate]], unit: float
) -> tuple[list[Candidate], list[Entrant]]:
    """Choose each method's best candidates by mean validation accuracy in the choice; return its trials too."""
    comparison, seeds = context.experiment.comparison, context.experiment.finalists.seeds
    specs: dict[tuple[str, int], list[TrialSpec]] = {}
    for name, candidates in tried.items():
        for place, one in enumerate(candidates if len(candidates) > common_method_entry(candidates).best else []):
            context.watcher.step(len(specs), f"{name}, candidate {place + 1}")
            epochs = affordable(context, one, comparison.tuning, unit)
            specs[name, place] = [
                trial(context, one, epochs, CHOICE_SEEDS + seed) for seed in seeds[: comparison.tuning_seeds]
            ]
    entrants = [Entrant(name, spec, comparison.tuning) for (name, _), own in specs.items() for spec in own]
    finalists = [(common_method_entry(candidates), len(candidates)) for candidates in tried.values()]
    ahead = len(seeds) * sum(min(one.best, among) * sum(one.compute) for one, among in finalists)
    carry_out_all(context, entrants, trial_kind="choice", title=f"choice among {len(specs)} candidates", ahead=ahead)
    means = {place: validation(context, place[0], own) for place, own in specs.items()}
    chosen = [one for name, candidates in tried.items() for one in best_candidates(context, name, candidates, means)]
    return chosen, entrants


def common_method_entry(candidates: list[Candidate]) -> MethodEntry:
    return candidates[0].method_entry


def validation(context: ExperimentContext, name: str, specs: list[TrialSpec]) -> float:
    """Mean validation accuracy of a candidate's trials; below 0 unless all are complete."""
    rows = context.table.read()
    ours = rows[(rows["trial_kind"] == "choice") & (rows["role"] == name) & (rows["status"] == "complete")]
    found = ours[ours["key"].isin([spec.key for spec in specs])]["val_accuracy"]
    return float(found.mean()) if len(found) == len(specs) else -1.0


def best_candidates(
    context: ExperimentContext, name: str, candidates: list[Candidate], means: Mapping[tuple[str, int], float]
) -> list[Candidate]:
    """Those that go to the finals, the best first, the earlier of equals; a note if too many candidates failed."""
    count = common_method_entry(candidates).best
    if len(candidates) <= count:
        return candidates
    able = [place for place in range(len(candidates)) if means[name, place] >= 0]
    if len(able) < count:
        context.watcher.note(f"{name}: {count} candidates were wanted, {len(able)} could be trained")
    return [candidates[place] for place in sorted(able, key=lambda place: -means[name, place])[:count]]


def finals(context: ExperimentContext, candidate: Candidate, unit: float) -> Iterator[Entrant]:
    """The candidate with every seed at every share; of shares that come to the same epochs only the largest."""
    name = candidate.method_entry.name
    shares = {affordable(context, candidate, share, unit): share for share in sorted(candidate.method_entry.compute)}
    for left_out in sorted(set(candidate.method_entry.compute) - set(shares.values())):
        context.watcher.note(f"{name}: {left_out:g} of the compute comes to the epochs of a larger share; left out")
    for epochs, share in shares.items():
        for seed in context.experiment.finalists.seeds:
            yield Entrant(name, trial(context, candidate, epochs, seed), share)


def affordable(context: ExperimentContext, candidate: Candidate, fraction: float, unit: float) -> int:
    """Whole epochs that cost no more than the reference's at this fraction, within `SLACK`; at least one, at any cost.

    `unit`: multiply-adds of one epoch of the reference. A price may depend on the length.
    """
    whole, seed = context.experiment.recipe.epochs, context.experiment.finalists.seeds[0]
    given = max(1, round(fraction * whole))
    if candidate.method_entry.name == context.experiment.comparison.reference:
        return given
    budget = given * unit * (1 + SLACK)

    def fits(epochs: int) -> bool:
        return epochs * estimate_epoch_macs(context, trial(context, candidate, epochs, seed)) <= budget

    epochs = max(1, int(budget / estimate_epoch_macs(context, trial(context, candidate, whole, seed))))
    while epochs > 1 and not fits(epochs):
        epochs -= 1
    while fits(epochs + 1):
        epochs += 1
    return epochs


def trial(context: ExperimentContext, candidate: Candidate, epochs: int, seed: int) -> TrialSpec:
    experiment, method = context.experiment, candidate.method_entry.method
    made = make_method(method, candidate.options)
    init = candidate.method_entry.init or init_of(experiment, made)
    return TrialSpec(
        space=experiment.space,
        architecture=context.baseline,
        method=method,
        options=candidate.options,
        data=experiment.data,
        teacher=experiment.teacher if made.needs_teacher or init == FROM_TEACHER else None,
        recipe=dataclasses.replace(experiment.recipe, epochs=epochs),
        seed=seed,
        init=init,
    )
