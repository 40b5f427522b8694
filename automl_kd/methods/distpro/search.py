"""DistPro's search: a short run in which the weights of all pathways follow the loss on held-out training images.

Xueqing Deng, Dawei Sun, Shawn Newsam, Peng Wang. DistPro: Searching A Fast Knowledge Distillation Process via Meta
Optimization. 2022. arXiv:2204.05547. The course that the weights took, the process, is the result; `distpro` replays
it. Settings are those of the published code, but for these: one style of weights for search and replay (the code's
commands name two); the recipe's schedule, squeezed into the search (the code never lowers the rate there); and, unless
`published`, soft targets on the logits among the pathways, and an alpha whose optimizer fits the length of the search.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from automl_kd import distributed, storage
from automl_kd.data import Batch, Split, augmented_view, epoch_order, epoch_windows
from automl_kd.data.division import set_apart
from automl_kd.errors import StopTrial, TrialError
from automl_kd.losses.base import Example
from automl_kd.methods.base import STEP, CostEstimate, require_whole_steps, train
from automl_kd.methods.distpro.connectors import SHARED
from automl_kd.methods.distpro.pathways import Pathway, PathwayLosses, list_pathways, needed_features, seen
from automl_kd.methods.distpro.process import Process, check_style, process_from_steps, save_process, weigh
from automl_kd.methods.distpro.step import BETAS, LEAST_PART, SearchStep, Weighting, betas_for
from automl_kd.methods.dry_run import DRY_RUN_IMAGES, open_extractors
from automl_kd.methods.weighted_losses import first_look
from automl_kd.models.costs.cost import count_cost, evaluating
from automl_kd.models.costs.multiply_adds import counting
from automl_kd.models.features import FeatureExtractor
from automl_kd.models.memory_layout import laid_out
from automl_kd.seeds import derive
from automl_kd.spec import Report, TrialPaths, TrialSpec, require, steps_per_epoch
from automl_kd.teacher_cache.cached_teacher import teacher_outputs
from automl_kd.training.training_run import OwnStep
from automl_kd.training.trial import TrialContext, load_teacher, prepare_trial

DEFAULT_STAGES = "stem+stage1.pre+stage2.pre+stage3.pre+logits"
"""The published code's four feature layers, each stage before its last activation and the stem after its own; and the
logits, which the published code leaves out: without them equal weights are worse than plain KD (CIFAR-10 at 16 pixels,
resnet8 from resnet20).
"""

MAX_RECORDS = 200
"""Into how many equal parts a process is cut at most: it is smooth, and the file stays small."""

ORDERS = ("lagged", "sequential")

DEFAULT_SHARE = 0.5
"""Of a batch for a hypergradient, unless as published: half of its multiply-adds, and noisier slopes."""

DUAL = 3
"""Forward passes that one in dual numbers costs: a product of two becomes three products."""

ALPHA_TRAVEL, PUBLISHED_RATE = 1.5, 0.1
"""About how far alpha can go in a search, Adam's steps being of its rate; and the published rate of alpha."""

PROCESS, PLOT = "process.json", "process.svg"


@dataclass(frozen=True)
class DistProSearch:
    """Search the weights of distillation pathways over the run, by hypergradients. Deng et al. 2022, arXiv:2204.05547.

    `stages`: feature layers from shallow to deep, as in `list_pathways`; "pooled" and "logits" may be among them.
    `connect`: "lower" lets a student's stage learn from the same and shallower ones, "same" from its own, "all" from
    every one. `transforms`: "plain", "2conv", "3conv", "complex", "shared", or several joined by "+"; empty takes
    "shared", or "complex" if `published`. `style`: how weights come from alpha; `kd` >= 0 scales them in "scaled" and
    "equal". `temperature` > 0: of the logits' pathway. `order`: "lagged" or "sequential". `interval` >= 1: steps from
    one hypergradient to the next. `alpha_lr` >= 0: the rate of alpha; 0 takes 1.5 over the number of updates, or 0.1 if
    `published`. `published`: alpha's Adam has the published betas, and slopes are not divided by the student's rate.
    `share` in [0, 1]: fraction of a batch, of training and of held-out images, on which a hypergradient is taken; 0
    takes 0.5, or 1 if `published`. `held_out` in (0, 1): fraction of training images for the outer loss.
    """

    needs_teacher: ClassVar[bool] = True
    plain_labels: ClassVar[bool] = True
    stages: str = DEFAULT_STAGES
    connect: str = "lower"
    transforms: str = ""
    style: str = "scaled"
    kd: float = 1.0
    temperature: float = 4.0
    order: str = "lagged"
    interval: int = 1
    alpha_lr: float = 0.0
    published: bool = False
    share: float = 0.0
    held_out: float = 0.2

    def __post_init__(self) -> None:
        require(0 <= self.share <= 1, f"share must lie from 0 (by default) to 1, got {self.share}")
        list_pathways(self.stages, self.connect, self.kinds)
        check_style(self.style)
        require(self.kd > 0, f"kd must be above 0, got {self.kd}")
        require(self.temperature > 0, f"temperature must be above 0, got {self.temperature}")
        require(self.order in ORDERS, f"order must be lagged or sequential, got {self.order!r}")
        require(self.interval >= 1, f"interval must be 1 or more, got {self.interval}")
        require(self.alpha_lr >= 0, f"alpha_lr must be 0 (by the search's length) or more, got {self.alpha_lr}")
        require(0 < self.held_out < 1, f"held_out must lie between 0 and 1, got {self.held_out}")

    @property
    def pathways(self) -> tuple[Pathway, ...]:
        return list_pathways(self.stages, self.connect, self.kinds)

    @property
    def kinds(self) -> str:
        return self.transforms or ("complex" if self.published else SHARED)

    @property
    def part(self) -> float:
        """The fraction of a batch on which a hypergradient is taken."""
        return self.share or (1.0 if self.published else DEFAULT_SHARE)

    def macs(self, student: int, teacher: int) -> int:
        """Without the connectors, whose cost is known only where the networks are; trials report it."""
        return round((1 - self.held_out) * self.step_macs(student, teacher, 0, 0))

    def step_macs(self, student: int, teacher: int, connectors: int, entrances: int) -> float:
        """Of one image in a step, the hypergradient's work averaged over the steps; `entrances`: of the connectors."""
        # The outer loss and its gradient, and the pass in dual numbers.
        each = self.part * ((STEP + DUAL) * student + DUAL * entrances)
        each += (STEP - 1) * (student + connectors) if self.order == "sequential" else 0
        return STEP * (student + connectors) + teacher + each / self.interval

    def dry_run(self, context: TrialContext, teacher: nn.Module) -> None:
        require_whole_steps(context.spec)
        set_apart(context.dataset, self.held_out, 0)
        self.dry_run_pathways(context, teacher)

    def dry_run_pathways(self, context: TrialContext, teacher: nn.Module) -> None:
        """Make the pathways' losses, and evaluate each of them once."""
        with open_extractors(context, teacher, needed_features(self.pathways)) as (student, teacher_network):
            example, _ = first_look(context, student, teacher_network, examples=DRY_RUN_IMAGES)
            connector_cost(make_losses(self.pathways, example, self.temperature), example)

    def cost(self, spec: TrialSpec, paths: TrialPaths) -> CostEstimate:
        context, _ = self.hold_out(spec, paths)
        teacher = load_teacher(context)
        with open_extractors(context, teacher, needed_features(self.pathways)) as (student, teacher_network):
            example, _ = first_look(context, student, teacher_network)
            losses = make_losses(self.pathways, example, self.temperature)
            return CostEstimate.of(context, self.macs_per_image(context, teacher, losses, example))

    def macs_per_image(self, context: TrialContext, teacher: nn.Module, losses: PathwayLosses, example: Example) -> int:
        teacher_macs = count_cost(teacher, context.dataset.shape).macs
        cost = connector_cost(losses, example)
        entrances = sum(cost.entrances.values())
        each = self.step_macs(context.training_macs, teacher_macs, sum(cost.own) + entrances, entrances)
        return round(each)

    def hold_out(self, spec: TrialSpec, paths: TrialPaths) -> tuple[TrialContext, Split]:
        """The trial without the images of the outer loss, and these."""
        require_whole_steps(spec)
        context = prepare_trial(spec, paths)
        dataset, outer = set_apart(context.dataset, self.held_out, derive(spec.seed, "held out"))
        return replace(context, dataset=dataset), outer

    def __call__(self, spec: TrialSpec, report: Report, paths: TrialPaths) -> None:
        """Leaves the process in the trial's folder as `process.json`, and drawn as `process.svg`."""
        context, outer = self.hold_out(spec, paths)
        teacher = load_teacher(context)
        features = needed_features(self.pathways)
        with (
            FeatureExtractor(context.student, features.student) as student,
            FeatureExtractor(teacher, features.teacher) as teacher_network,
        ):
            example, _ = first_look(context, student, teacher_network)
            losses = make_losses(self.pathways, example, self.temperature)
            weighting = self.weighting(losses, context)
            step = SearchStep(
                weighting=weighting,
                student=student,
                ask_teacher=teacher_outputs(context, teacher_network),
                outer=outer_batches(context, outer, self.part),
                order=self.order,
                interval=self.interval,
                smoothing=spec.recipe.label_smoothing,
                per_rate=not self.published,
                share=self.part,
            )
            cost = self.macs_per_image(context, teacher, losses, example)
            try:
                train(context, OwnStep(step), report, macs_per_image=cost, loss_modules=weighting)
            except StopTrial:  # with the last report, it may be
                self.leave_found(weighting, paths.trial)
                raise
            self.leave_found(weighting, paths.trial)

    def leave_found(self, weighting: Weighting, folder: Path) -> None:
        if weighting.complete and distributed.is_main_process():
            leave(self.process(weighting), folder)

    def weighting(self, losses: PathwayLosses, context: TrialContext) -> Weighting:
        recipe = context.spec.recipe
        steps = recipe.total_steps(steps_per_epoch(len(context.dataset.train), recipe.batch_size))
        record = max(1, -(-steps // MAX_RECORDS))
        like, updates = next(context.student.parameters()).detach(), -(-steps // self.interval)
        rate = self.alpha_lr or (PUBLISHED_RATE if self.published else ALPHA_TRAVEL / updates)
        betas = BETAS if self.published else betas_for(updates)
        return Weighting(losses, like, style=self.style, kd=self.kd, lr=rate, steps=steps, record=record, betas=betas)

    def process(self, weighting: Weighting) -> Process:
        axis, alpha = process_from_steps(weighting.moments, weighting.rows, weighting.steps)
        pathways = tuple((one.teacher, one.student, one.transform) for one in self.pathways)
        slopes, errors = weighting.slopes.mean_and_error() if weighting.slopes.count > 1 else ([], [])
        try:
            return Process(
                pathways=pathways,
                style=self.style,
                kd=self.kd,
                steps=weighting.steps,
                axis=axis,
                alpha=alpha,
                slopes=tuple(slopes),
                errors=tuple(errors),
                updates=weighting.slopes.count,
            )
        except ValueError as error:
            raise TrialError(f"the search found no process: {error}; lower alpha_lr") from error


def outer_batches(context: TrialContext, outer: Split, share: float = 1.0) -> Callable[[int], Batch]:
    """Number to batch: whole passes over the held-out images, each in an order and with views of its own.

    `share`: how large they are, as a fraction of the recipe's batches. In a process group, to this process's part of
    the batch.
    """
    spec, dataset = context.spec, context.dataset
    size = min(max(LEAST_PART, round(share * spec.recipe.batch_size)), spec.recipe.batch_size, len(outer))
    each = len(outer) // size
    order_seed, view_seed = derive(spec.seed, "outer order"), derive(spec.seed, "outer view")

    recipe = spec.recipe

    @lru_cache(maxsize=1)
    def draws_in(turn: int) -> tuple[Tensor, Tensor | None]:
        order = epoch_order(len(outer), seed=order_seed, epoch=turn).to(outer.row_device)
        return order, epoch_windows(dataset, outer, seed=view_seed, epoch=turn, augment=recipe.augment)

    def batch(number: int) -> Batch:
        turn, place = number // each + 1, number % each
        order, windows = draws_in(turn)
        whole = order[place * size : (place + 1) * size]
        with distributed.shard_rows(whole) as rows:
            images = augmented_view(dataset, outer, rows, recipe, seed=view_seed, epoch=turn, windows=windows)
            images = laid_out(dataset.inputs_among(images, outer, whole), spec.recipe)
            return Batch(images, outer.labels[rows], outer.index[rows], turn, parts=distributed.shard_count())

    return batch


def make_losses(pathways: tuple[Pathway, ...], example: Example, temperature: float) -> PathwayLosses:
    """Connectors begin with weights that depend on the example's seed alone."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(derive(example.seed, "connectors") % 2**32)
        return PathwayLosses(pathways, example, temperature)


class ConnectorCost(NamedTuple):
    """Multiply-adds of a forward pass of one image: of each pathway's own layers, and of what pathways share.

    `entrances`: by the name under which pathways take what they make.
    """

    own: tuple[int, ...]
    entrances: Mapping[str, int]


def connector_cost(losses: PathwayLosses, example: Example) -> ConnectorCost:
    student, teacher = (
        {name: value[:1] for name, value in seen(one).items()} for one in (example.student, example.teacher)
    )
    own: list[int] = []
    entrances: dict[str, int] = {}
    with evaluating(losses), torch.no_grad():
        for place in range(len(losses.pathways)):
            name = losses.input_name(place)
            if name not in student:
                with counting() as counter:
                    student |= losses.enter(student, [place])
                entrances[name] = counter.macs
            with counting() as counter:
                losses(place, student, teacher)
            own.append(counter.macs)
    return ConnectorCost(tuple(own), entrances)


def leave(process: Process, folder: Path) -> None:
    weights = weigh(process.style, torch.tensor(process.alpha), process.kd)
    save_process(process, folder / PROCESS)
    from automl_kd.methods.distpro.drawing import weights_over_time  # noqa: PLC0415 - matplotlib takes half a second

    drawn = weights_over_time(process.axis, weights.tolist(), process.pathways)
    storage.write(folder / PLOT, drawn)
