"""The comparison stage: methods are tuned on validation at equal compute, then trained as long as each reading says."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from automl_kd.config import CHOICE_SEEDS, MethodEntry
from automl_kd.experiment.context import ExperimentContext
from automl_kd.experiment.cost_estimates import estimate_epoch_macs
from automl_kd.experiment.proposals import init_of
from automl_kd.experiment.stages.finals import forecast_power
from automl_kd.experiment.stages.lengths import (
    UNSHARED,
    Length,
    SharedTeacher,
    fitting_length,
    images_of,
    length_of,
    merge_lengths,
    recipe_length,
    shared_teachers,
    whole_length_below,
)
from automl_kd.experiment.stages.trials import Entrant, carry_out_all
from automl_kd.methods import ends_with_whole_epochs, make_method
from automl_kd.methods.base import Method
from automl_kd.methods.schedule import RECIPE
from automl_kd.results.store.folder import write_finals
from automl_kd.space import Scalar
from automl_kd.spec import FROM_TEACHER, ReadingName, Schedule, Stage, TrialSpec


class Candidate(NamedTuple):
    """A compared method with one of its combinations of options."""

    method_entry: MethodEntry
    options: Mapping[str, Scalar]

    @property
    def label(self) -> str:
        return f"{self.method_entry.name} {json.dumps(dict(self.options), sort_keys=True)}"

    @property
    def made(self) -> Method:
        return make_method(self.method_entry.method, self.options)

    @property
    def schedule(self) -> Schedule:
        """With what of the recipe the entry has otherwise, from the start on."""
        changes = {RECIPE + name: value for name, value in self.method_entry.recipe.items()}
        return (Stage(0.0, changes),) if changes else ()


def contend(context: ExperimentContext) -> None:
    """Choose every method's options where there is a choice, then train all methods with every seed."""
    tried = {
        one.name: [Candidate(one, options) for options in one.combinations]
        for one in context.experiment.comparison.methods
    }
    context.watcher.stage("cost of each candidate", sum(map(len, tried.values())), "candidates")
    reference = tried[context.experiment.comparison.reference][0]
    whole, seeds = recipe_length(context.experiment.recipe), context.experiment.finalists.seeds
    unit = estimate_epoch_macs(context, trial(context, reference, whole, seeds[0]))
    chosen, attempts = choose_options(context, tried, unit)
    line_up = [one for candidate in chosen for one in finals(context, candidate, chosen, reference, unit)]
    rows = context.table.read()
    if sentence := forecast_power(rows[rows["key"].isin([one.spec.key for one in attempts])], len(seeds)):
        context.watcher.note(sentence)
    carry_out_all(context, line_up, trial_kind="final", title="finals", ahead=0.0)
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
            length = affordable(context, one, comparison.tuning, unit)
            specs[name, place] = [
                trial(context, one, length, CHOICE_SEEDS + seed) for seed in seeds[: comparison.tuning_seeds]
            ]
    entrants = [Entrant(name, spec, comparison.tuning) for (name, _), own in specs.items() for spec in own]
    finalists = [(common_method_entry(candidates), len(candidates)) for candidates in tried.values()]
    shares = sum(min(one.best, among) * sum(one.compute) for one, among in finalists)
    ahead = len(seeds) * len(context.experiment.finalists.readings) * shares  # at most
    carry_out_all(context, entrants, trial_kind="choice", title=f"choice among {len(specs)} candidates", ahead=ahead)
    means = {place: validation(context, place[0], own) for place, own in specs.items()}
    chosen = [one for name, candidates in tried.items() for one in best_candidates(context, name, candidates, means)]
    return chosen, entrants


def common_method_entry(candidates: list[Candidate]) -> MethodEntry:
    return candidates[0].method_entry


def validation(context: ExperimentContext, name: str, specs: list[TrialSpec]) -> float:
    """Mean validation accuracy of a candidate's trials; minus infinity unless all are complete."""
    rows = context.table.read()
    ours = rows[(rows["trial_kind"] == "choice") & (rows["role"] == name) & (rows["status"] == "complete")]
    found = ours[ours["key"].isin([spec.key for spec in specs])]["val_accuracy"]
    return float(found.mean()) if len(found) == len(specs) else -math.inf


def best_candidates(
    context: ExperimentContext, name: str, candidates: list[Candidate], means: Mapping[tuple[str, int], float]
) -> list[Candidate]:
    """Those that go to the finals, the best first, the earlier of equals; a note if too many candidates failed."""
    count = common_method_entry(candidates).best
    if len(candidates) <= count:
        return candidates
    able = [place for place in range(len(candidates)) if means[name, place] > -math.inf]
    if len(able) < count:
        context.watcher.note(f"{name}: {count} candidates were wanted, {len(able)} could be trained")
    return [candidates[place] for place in sorted(able, key=lambda place: -means[name, place])[:count]]


def finals(
    context: ExperimentContext, candidate: Candidate, chosen: list[Candidate], reference: Candidate, unit: float
) -> Iterator[Entrant]:
    """The candidate with every seed, at all shares of the compute in all readings.

    Of a reading's shares that come to one length only the largest is trained.
    """
    name, shares = candidate.method_entry.name, sorted(candidate.method_entry.compute, reverse=True)
    lengths = {
        (reading, share): final_length(context, candidate, reading, share, unit, Sharing.at(share, chosen, reference))
        for reading in context.experiment.finalists.readings
        for share in shares
    }
    for length, served in merge_lengths(lengths).items():
        readings: dict[ReadingName, float] = {}
        for reading, share in served:
            if readings.setdefault(reading, share) != share:
                left_out = f"{share:g} of the {reading} comes to the length of a larger share"
                context.watcher.note(f"{name}: {left_out}; left out")
        share = readings.get("compute", max(readings.values()))
        for seed in context.experiment.finalists.seeds:
            yield Entrant(name, trial(context, candidate, length, seed), share, readings)


class Sharing(NamedTuple):
    """Who reads the teacher's outputs at a share of the compute: the reference, and all candidates there, by label."""

    reference: Candidate
    methods: Mapping[str, Method]

    @staticmethod
    def at(share: float, chosen: list[Candidate], reference: Candidate) -> Sharing:
        """The reference counts even where it is not trained at this share."""
        there = [one for one in chosen if share in one.method_entry.compute]
        base = next((one for one in there if one.method_entry.name == reference.method_entry.name), reference)
        return Sharing(base, {one.label: one.made for one in (base, *there)})


def final_length(
    context: ExperimentContext, candidate: Candidate, reading: ReadingName, share: float, unit: float, sharing: Sharing
) -> Length:
    """How long a candidate is trained in a reading, at a share of what is equal there."""
    if reading == "compute":
        return affordable(context, candidate, share, unit)
    if reading == "shared-teacher":
        shared = shared_teachers(context, sharing.methods, len(context.experiment.finalists.seeds))
        return affordable(context, candidate, share, unit, shared[candidate.label], shared[sharing.reference.label])
    theirs, ours = (len(images_of(context, one.made).train) for one in (sharing.reference, candidate))
    length = length_of(reference_length(context, share).passes * theirs / ours)
    return Length(max(1, round(length.passes))) if whole_epochs(context, candidate) else length


def reference_length(context: ExperimentContext, share: float) -> Length:
    """Of the reference, which is trained for the recipe's epochs at full compute."""
    recipe = context.experiment.recipe
    if context.experiment.finalists.whole_epochs:
        return Length(max(1, round(share * recipe.epochs)))
    return length_of(share * recipe.length)


def whole_epochs(context: ExperimentContext, candidate: Candidate) -> bool:
    return context.experiment.finalists.whole_epochs or ends_with_whole_epochs(candidate.made)


def affordable(
    context: ExperimentContext,
    candidate: Candidate,
    fraction: float,
    unit: float,
    shared: SharedTeacher = UNSHARED,
    reference: SharedTeacher = UNSHARED,
) -> Length:
    """The length that costs as much as the reference's at this fraction; of whole epochs the most within 5 %.

    `unit`: multiply-adds of one epoch of the reference. `shared`, `reference`: what the candidate's trials and those of
    the reference do not pay of their teacher's passes. A price may depend on the length.
    """
    given, seed = reference_length(context, fraction), context.experiment.finalists.seeds[0]
    name = candidate.method_entry.name
    if name == context.experiment.comparison.reference:
        return given
    budget, start = given.passes * unit - reference.saved(given), recipe_length(context.experiment.recipe)

    def cost(length: Length) -> float:
        return shared.cost(estimate_epoch_macs(context, trial(context, candidate, length, seed)))(length)

    if not whole_epochs(context, candidate):
        return fitting_length(budget, cost, start)
    if not context.experiment.finalists.whole_epochs and name not in context.noted:
        context.noted.add(name)
        context.watcher.note(
            f"{name} cannot end inside an epoch; it is trained for whole epochs, with at most 5 % more"
        )
    return whole_length_below(budget, cost, start)


def trial(context: ExperimentContext, candidate: Candidate, length: Length, seed: int) -> TrialSpec:
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
        recipe=length.applied(experiment.recipe),
        seed=seed,
        init=init,
        schedule=candidate.schedule,
    )
