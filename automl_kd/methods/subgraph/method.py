"""A student found inside its teacher, then trained by KD.

Jindong Gu, Volker Tresp. Search for Better Students to Learn Distilled Knowledge. 2020. arXiv:2001.11612. The teacher's
network is the super-graph; a search gives its channels, blocks and stages factors (`methods/subgraph/search.py` lists
what is known of the paper and what is our reconstruction); the parts with the highest ones fill the budget; the rest is
cut away, and the small network is trained on by plain knowledge distillation, or from fresh weights.

That a student keeps its weights is not settled by what could be recovered of the paper. It is the default because it
was measured to be the larger part of the gain (resnet8's budget inside resnet20, CIFAR-10 at 16x16, 3,000 images: three
points over KD at 0.62 of its compute). Trials stored before it was the default keep their fresh weights.

The budget is the cost of the student that the trial's space and architecture name, in parameters and multiply-adds,
unless the options state one. So a trial of this method stands beside one of `kd` on the hand-made student, at equal
size. `choose` replaces the search by a way of cutting that needs none: the baselines to which it must be
compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from automl_kd import distributed, storage
from automl_kd.config import Budget
from automl_kd.data import Batch
from automl_kd.losses.cross_entropy import label_loss
from automl_kd.methods.base import STEP, CostEstimate, after_search, count_epochs, search_costs, train
from automl_kd.methods.logits_only import require_more_than_logits
from automl_kd.methods.subgraph.baselines import baseline_scores, magnitude
from automl_kd.methods.subgraph.budget import (
    MeasureLatency,
    PartScores,
    choose_subgraph,
    devices_here,
    least_widths,
    read_multiples,
    refuse_below,
    scale_budget,
    with_removed,
)
from automl_kd.methods.subgraph.options import SearchOptions
from automl_kd.methods.subgraph.search import CHECKPOINT_FILE, SubgraphSearchRun
from automl_kd.models import build_from, build_model
from automl_kd.models.costs.cost import NetworkCost, count_cost
from automl_kd.models.costs.latency import measure_latency
from automl_kd.models.foreign.copying import copy_network
from automl_kd.models.input_adapter import InputAdapter, adapt, train_at
from automl_kd.models.pruning.coupling import Coupling, Selection
from automl_kd.models.pruning.description import Description, describe_selection, read_description
from automl_kd.models.pruning.surgery import thin_network
from automl_kd.models.pruning.tracing import trace
from automl_kd.models.warm_start.student_form import as_student
from automl_kd.results import units
from automl_kd.seeds import derive
from automl_kd.spec import REMARK_FILE, Report, TrialPaths, TrialSpec, require
from automl_kd.tasks.soft_targets import kd_loss
from automl_kd.teacher_cache.cached_teacher import teacher_outputs
from automl_kd.training import checkpoint
from automl_kd.training.trial import TrialContext, load_teacher, prepare_trial, to_trial_device

SEARCH_STEP = 4
"""Forward passes of the teacher's network that a step of the search costs: the teacher's, and a training step."""


@dataclass(frozen=True)
class Subgraph(SearchOptions):
    """A subgraph of the teacher, found by sparse factors, then KD. Gu, Tresp 2020, arXiv:2001.11612.

    `choose`: "search", or a baseline of the same cost: "uniform" thinning, "shallow", "random", "magnitude".
    `params_limit`, `macs_limit`, `latency_limit_ms`: the budget, 0 for no such limit; all 0 for the cost of the
    trial's own student.
    `multiples`: the first one times the budget is the student that is trained; others, after commas, are written to
    `students/` beside it from the same search. `floor`, `divisor`: a layer keeps at least this fraction of its
    channels, and multiples of `divisor`. `inherit`: train on from the teacher's weights, or those of a super-graph
    whose weights were "random"; false draws fresh ones.
    `temperature`, `weight`: of the student's training, as in `kd`.
    """

    needs_teacher: ClassVar[bool] = True
    cached_features: ClassVar[tuple[str, ...]] = ()
    makes_students: ClassVar[bool] = True
    choose: Literal["search", "uniform", "shallow", "random", "magnitude"] = "search"
    params_limit: int = 0
    macs_limit: int = 0
    latency_limit_ms: float = 0.0
    multiples: str = "1"
    floor: float = 0.125
    divisor: int = 4
    inherit: bool = True
    temperature: float = 4.0
    weight: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        require(min(self.params_limit, self.macs_limit, self.latency_limit_ms) >= 0, "limits must be 0 (none) or more")
        require(0 < self.floor <= 1, f"floor must lie in (0, 1], got {self.floor}")
        require(self.divisor >= 1, f"divisor must be 1 or more, got {self.divisor}")
        require(self.temperature > 0, f"temperature must be above 0, got {self.temperature}")
        require(0 <= self.weight <= 1, f"weight must lie in [0, 1], got {self.weight}")
        read_multiples(self.multiples)

    def macs(self, student: int, teacher: int) -> int:
        """The search included, spread over the epochs of training."""
        searched = self.share * SEARCH_STEP * teacher if self.choose == "search" else 0.0
        return round(searched) + STEP * student + teacher

    def bound(self, context: TrialContext, teacher: int) -> float:
        """At most so many multiply-adds for an image of an epoch: the student is not found yet."""
        recipe, images = context.spec.recipe, len(context.dataset.train)
        searched = self.recipe(recipe).passes(images) if self.choose == "search" else 0.0
        student = self.budget(context.cost).macs or teacher
        return searched / recipe.passes(images) * SEARCH_STEP * teacher + STEP * student + teacher

    def budget(self, student: NetworkCost) -> Budget:
        stated = Budget(params=self.params_limit, macs=self.macs_limit, latency_ms=self.latency_limit_ms)
        return stated if stated != Budget() else Budget(params=student.params, macs=student.macs)

    def dry_run(self, context: TrialContext, teacher: nn.Module) -> None:
        assert context.spec.teacher is not None  # a dry run has one
        require_more_than_logits(
            context.spec.teacher, f"method {context.spec.method!r} cuts its student out of its teacher"
        )
        teacher = supergraph_of(teacher, context)
        coupling = trace(teacher, context.dataset.student_shape)
        least = least_widths(coupling, self.floor, self.divisor)
        budget = scale_budget(self.budget(context.cost), min(read_multiples(self.multiples)))
        latencies = [timed(teacher, coupling, context, device) for device in devices_here(context.paths.device)]
        refuse_below(coupling, budget, least, context.spec.teacher.model, latencies)

    def cost(self, spec: TrialSpec, paths: TrialPaths) -> CostEstimate:
        context = prepare_trial(spec, paths)
        teacher_macs = count_cost(load_teacher(context), context.dataset.shape).macs
        return CostEstimate(len(context.dataset.train) * self.bound(context, teacher_macs))

    def __call__(self, spec: TrialSpec, report: Report, paths: TrialPaths) -> None:
        context = prepare_trial(spec, paths)
        teacher = load_teacher(context)
        teacher_macs = count_cost(teacher, context.dataset.shape).macs
        student = find_student(self, context, teacher)
        train_at(student, spec.recipe.train_resolution)
        found = replace(context, student=to_trial_device(student, spec, paths, context.dataset.shape))
        ask_teacher = teacher_outputs(context, teacher)

        def objective(batch: Batch) -> Mapping[str, Tensor]:
            teacher_logits = ask_teacher(batch).logits
            logits = found.student(batch.inputs)
            return {
                "ce": (1 - self.weight) * label_loss(logits, batch, spec.recipe.loss, spec.recipe.label_smoothing),
                "kd": self.weight * kd_loss(logits, teacher_logits, self.temperature),
            }

        searched = after_search(report, search_effort(self, context, SEARCH_STEP * teacher_macs))
        train(found, objective, searched, macs_per_image=STEP * found.training_macs + teacher_macs)


def supergraph_of(teacher: nn.Module, context: TrialContext) -> nn.Module:
    """The teacher as a network that takes the students' images and names the data's classes."""
    return as_student(teacher, context.dataset.shape, context.dataset.student_size)


def find_student(options: Subgraph, context: TrialContext, teacher: nn.Module) -> nn.Module:
    """The network to train: as described in the trial's folder, or found now and described there."""
    spec, shape = context.spec, context.dataset.student_shape
    assert spec.teacher is not None  # the teacher was loaded
    path = context.paths.trial / "subgraph.json"
    known = bool(distributed.from_main_process(path.exists()))
    if known and not options.inherit:
        return rebuilt(read_description(path), context)
    whole = supergraph_of(teacher, context)
    coupling, of_search = trace(whole, shape), options.weights == "random"
    if known and not of_search:
        return thin_network(whole, coupling, read_description(path).selection).requires_grad_(True)
    model = supergraph(options, context, whole)
    budget, multiples = options.budget(context.cost), read_multiples(options.multiples)
    least = least_widths(coupling, options.floor, options.divisor)
    refuse_below(coupling, scale_budget(budget, min(multiples)), least, spec.teacher.model)
    smallest = scale_budget(budget, min(multiples))
    scores, remark = part_scores(options, context, teacher, SuperGraph(whole, model, coupling, least), smallest)
    if not known and distributed.is_main_process():
        if remark:
            storage.write(context.paths.trial / REMARK_FILE, remark)
        latency = timed(whole, coupling, context, context.paths.device)
        for position, multiple in reversed(list(enumerate(multiples))):
            chosen = choose_subgraph(coupling, scores, scale_budget(budget, multiple), least, options.divisor, latency)
            description = describe_selection(spec.teacher.model, coupling, chosen, as_numbers(scores))
            # The one to be trained is written last: where it is, all are.
            write_subgraph(description, context, f"students/{multiple:g}" if position else "subgraph")
    distributed.wait_for_main_process()
    description = read_description(path)
    if not options.inherit:
        return rebuilt(description, context)
    return thin_network(model if of_search else whole, coupling, description.selection).requires_grad_(True)


def timed(teacher: nn.Module, coupling: Coupling, context: TrialContext, device: str) -> MeasureLatency:
    def latency(selection: Selection) -> float:
        small = thin_network(teacher, coupling, selection)
        return measure_latency(small, context.dataset.student_shape, device=device).ms

    return latency


@dataclass(frozen=True, eq=False)
class SuperGraph:
    """What students are parts of. `whole`: with the teacher's weights; `model`: the network to search in.

    `least`: the widths that groups keep at least.
    """

    whole: nn.Module
    model: nn.Module
    coupling: Coupling
    least: Mapping[str, int]


def part_scores(
    options: Subgraph, context: TrialContext, teacher: nn.Module, found: SuperGraph, budget: Budget
) -> tuple[PartScores, str]:
    """What each part is worth, and what is to be said of the search.

    Of a search that removed nothing, whose factors tell nothing, by magnitude; what a search has removed comes after
    all else, by magnitude, so that it fills what is left of the budget.
    """
    spec = context.spec
    if options.choose != "search":
        rng = np.random.default_rng(derive(spec.seed, "subgraph"))
        return baseline_scores(options.choose, found.whole, found.coupling, rng), ""
    # The search sees batches of its own, and all searches under one seed the same ones.
    seed, recipe = derive(spec.seed, "subgraph"), options.recipe(spec.recipe)
    search = SubgraphSearchRun(
        found.model,
        teacher_outputs(replace(context, spec=replace(spec, seed=seed, recipe=recipe)), teacher),
        context.dataset,
        recipe,
        seed,
        coupling=found.coupling,
        options=options,
        budget=budget,
        least=found.least,
        cache_stats=count_epochs(context),
    )
    scores = search.finish(context.paths.trial, context.paths.checkpoint_minutes)
    lengths = magnitude(found.whole, found.coupling)
    if not search.removed:
        steps = units.some(recipe.total_steps(search.run.steps), "step")
        return lengths, f"the search removed nothing in {steps}; channels and blocks were chosen by magnitude"
    return with_removed(scores, lengths), ""


def supergraph(options: Subgraph, context: TrialContext, whole: nn.Module) -> nn.Module:
    """The network to search in, apart from the teacher: a copy of it, or a fresh one of the same kind."""
    spec, dataset = context.spec, context.dataset
    if options.weights != "random":
        return copy_network(whole)
    assert spec.teacher is not None
    with seeded_generator(spec, "supergraph"):
        fresh = adapt(build_model(spec.teacher.model, dataset.student_shape), InputAdapter(size=dataset.student_size))
        return to_trial_device(fresh, spec, context.paths, dataset.shape)


def rebuilt(description: Description, context: TrialContext) -> nn.Module:
    with seeded_generator(context.spec, "student"):
        student = build_from(description, context.dataset.student_shape)
    return adapt(student, InputAdapter(size=context.dataset.student_size))


@contextmanager
def seeded_generator(spec: TrialSpec, stream: str) -> Iterator[None]:
    """Torch's generator on the processor, seeded for one network; afterwards as it was."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(derive(spec.seed, stream) % 2**32)
        yield


def as_numbers(scores: PartScores) -> dict[str, tuple[float, ...]]:
    """For the description; what is kept before all else has no number there, as JSON has none for it."""
    numbers = {name: tuple(values.tolist()) for name, values in scores.channels.items() if values.isfinite().all()}
    return numbers | {name: (value,) for name, value in scores.blocks.items() if np.isfinite(value)}


def write_subgraph(description: Description, context: TrialContext, name: str) -> None:
    """`name`.json and its drawing, `name`.svg, in the trial's folder; each is whole or absent."""
    from automl_kd.methods.subgraph.drawing import draw_subgraph  # noqa: PLC0415 - matplotlib takes half a second

    path = context.paths.trial / f"{name}.json"
    storage.write(path.with_suffix(".svg"), draw_subgraph(description.layers, title_of(description)))
    storage.write(path, description.to_json())


def title_of(description: Description) -> str:
    cost = description.cost
    return f"inside {description.model}: {cost.params:,} parameters, {cost.macs:,} multiply-adds"


def search_effort(options: Subgraph, context: TrialContext, macs_per_image: int) -> dict[str, float]:
    """Multiply-adds of the trial's search, its seconds and what else is counted; empty if there was none."""
    state = checkpoint.load_checkpoint(context.paths.trial / CHECKPOINT_FILE, torch.device("cpu"))
    history = state["run"]["history"] if state is not None else []
    if not history:
        return {}
    images = len(context.dataset.train)
    passes = options.recipe(context.spec.recipe).epochs_done(len(history), images)
    return {**search_costs(history), "train_macs": float(passes * images * macs_per_image)}
