"""DistPro: training under pathway weights that change over the run as a search found, stretched to its length.

Xueqing Deng, Dawei Sun, Shawn Newsam, Peng Wang. DistPro: Searching A Fast Knowledge Distillation Process via Meta
Optimization. 2022. arXiv:2204.05547. The paper's replay is known to us from a summary: linear interpolation over the
run, and pathways dropped while their weight is below 0.5. The published code holds neither; its commands for retraining
search anew. The replayed run trains on all images; the search before it sets some aside.

Measured on CIFAR-10 at 16 pixels, resnet8 from resnet20: a search of 76 steps finds noise, no pathway's slope differing
from zero; clipping what it found switched the logits' pathway, which is KD, off for 71 to 79 % of the run. So, unless
`published`, weights are equal where a search could not tell the pathways apart, which the trial says; the logits'
pathway is never dropped, and none is after a short search.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from automl_kd import distributed
from automl_kd.data import Batch
from automl_kd.errors import ConfigError
from automl_kd.losses.base import Example
from automl_kd.losses.cross_entropy import label_loss
from automl_kd.methods.base import EPOCH_COUNTS, STEP, CostEstimate, after_search, train
from automl_kd.methods.distpro.pathways import LOGITS, SOFT_TARGETS, PathwayLosses, needed_features, seen
from automl_kd.methods.distpro.process import (
    CLIPPED_FROM,
    check_style,
    load_process,
    require_pathways,
    weigh,
    weights_over,
)
from automl_kd.methods.distpro.search import (
    DEFAULT_STAGES,
    PROCESS,
    ConnectorCost,
    DistProSearch,
    connector_cost,
    make_losses,
)
from automl_kd.methods.dry_run import open_extractors
from automl_kd.methods.weighted_losses import first_look
from automl_kd.models.costs.cost import count_cost
from automl_kd.models.features import FeatureExtractor
from automl_kd.results import units
from automl_kd.spec import Recipe, Report, TrialPaths, TrialSpec, require, steps_per_epoch
from automl_kd.storage.content_hash import located_path
from automl_kd.teacher_cache.cached_teacher import TeacherOutputs, teacher_outputs
from automl_kd.training.training_run import TrainingObjective
from automl_kd.training.trial import TrialContext, load_teacher, prepare_trial

REPLAYS = ("process", "final", "equal")


@dataclass(frozen=True)
class DistPro:
    """Pathway weights that follow a searched process, searched first where none is given. Deng et al. 2022,
    arXiv:2204.05547.

    `process`: a `process.json`, of this or another pair or data set; empty searches one with `search` in (0, 1] of the
    recipe's epochs before training, as `distpro_search` with the options of the same names. `replay`: "process" follows
    it, "final" keeps its last weights throughout, "equal" needs none and gives every pathway the weight `kd`.
    `style`: replaces the process's own unless empty. `clip` >= 0: pathways of a weight below it, before the factor
    `kd`, are not evaluated; not the logits', and none after fewer than 500 updates of alpha. `published`: every one is,
    whatever the search could tell, and the search is as published. `by_place`: a process whose feature layers have
    other names fits if its pathways correspond.
    """

    needs_teacher: ClassVar[bool] = True
    process: str = field(default="", metadata={"file": True})
    search: float = 1 / 6
    replay: str = "process"
    style: str = ""
    kd: float = 1.0
    clip: float = 0.5
    by_place: bool = False
    stages: str = DEFAULT_STAGES
    connect: str = "lower"
    transforms: str = ""
    temperature: float = 4.0
    order: str = "lagged"
    interval: int = 1
    alpha_lr: float = 0.0
    published: bool = False
    share: float = 0.0
    held_out: float = 0.2

    def __post_init__(self) -> None:
        require(self.replay in REPLAYS, f"replay must be process, final or equal, got {self.replay!r}")
        require(0 < self.search <= 1, f"search must lie above 0 and not above 1, got {self.search}")
        require(self.clip >= 0, f"clip must be 0 (keep all) or more, got {self.clip}")
        if self.style:
            check_style(self.style)
        options = self.searching  # checks what the two methods share
        start = float(weigh(options.style, torch.ones(len(options.pathways)), 1.0)[0])
        require(
            not self.searches or start >= self.clip,
            f"clip = {self.clip:g} lies above {start:.3g}, the weight of every pathway at the start in style "
            f"{options.style!r}; lower clip",
        )

    @property
    def searching(self) -> DistProSearch:
        """The search that these options describe."""
        shared = {item.name: getattr(self, item.name) for item in fields(DistProSearch)}
        return DistProSearch(**{**shared, "style": self.style or DistProSearch.style})

    @property
    def cached_features(self) -> tuple[str, ...]:
        return tuple(needed_features(self.searching.pathways).teacher)

    @property
    def plain_labels(self) -> bool:
        return self.searches

    @property
    def searches(self) -> bool:
        return self.replay != "equal" and not self.process

    def macs(self, student: int, teacher: int) -> int:
        """With the search's share, without the connectors, whose cost trials report."""
        before = self.search * self.searching.macs(student, teacher) if self.searches else 0
        return round(STEP * student + teacher + before)

    def dry_run(self, context: TrialContext, teacher: nn.Module) -> None:
        if self.searches:
            self.searching.dry_run(context, teacher)
        else:
            self.searching.dry_run_pathways(context, teacher)
            self.weights(context)

    def cost(self, spec: TrialSpec, paths: TrialPaths) -> CostEstimate:
        """With every pathway at each step, where a search decides: the most that a trial can cost."""
        searched = 0.0
        if self.searches:
            own = self.search_trial(spec, paths)
            searched = own[0].recipe.length * self.searching.cost(*own).epoch_macs
        context = prepare_trial(spec, paths)
        teacher = load_teacher(context)
        with open_extractors(context, teacher, needed_features(self.searching.pathways)) as (student, teacher_network):
            example, _ = first_look(context, student, teacher_network)
            losses = make_losses(self.searching.pathways, example, self.temperature)
            macs = self.macs_per_image(context, teacher, losses, example, self.everywhere(context), searched)
            return CostEstimate.of(context, macs)

    def macs_per_image(
        self,
        context: TrialContext,
        teacher: nn.Module,
        losses: PathwayLosses,
        example: Example,
        weights: Float[Tensor, "steps pathways"],
        searched: float,
    ) -> int:
        """`searched`: multiply-adds of the search before, which are spread over the run."""
        teacher_macs = count_cost(teacher, context.dataset.shape).macs
        guiding = guiding_macs(weights, teacher_macs, losses, connector_cost(losses, example))
        images = len(context.dataset.train)
        spread = searched / (context.spec.recipe.passes(images) * images)
        return round(STEP * context.training_macs + guiding + spread)

    def __call__(self, spec: TrialSpec, report: Report, paths: TrialPaths) -> None:
        before = self.search_first(spec, paths) if self.searches else {}
        context = prepare_trial(spec, paths)
        teacher = load_teacher(context)
        pathways = self.searching.pathways
        features = needed_features(pathways)
        with (
            FeatureExtractor(context.student, features.student) as student,
            FeatureExtractor(teacher, features.teacher) as teacher_network,
        ):
            weights, remark = self.weights(context)
            example, _ = first_look(context, student, teacher_network)
            losses = make_losses(pathways, example, self.temperature)
            each = steps_per_epoch(len(context.dataset.train), spec.recipe.batch_size)
            ask_teacher = teacher_outputs(context, teacher_network)
            objective = replayed(student, ask_teacher, losses, weights, spec.recipe, each)
            searched = before.get("train_macs", 0.0)
            cost = self.macs_per_image(context, teacher, losses, example, weights, searched)
            train(
                context,
                objective,
                after_search(report, {name: before[name] for name in ("seconds", *EPOCH_COUNTS) if name in before}),
                macs_per_image=cost,
                loss_modules=losses,
                remark=lambda: remark,
            )

    def search_trial(self, spec: TrialSpec, paths: TrialPaths) -> tuple[TrialSpec, TrialPaths]:
        return replace(spec, recipe=spec.recipe.stretched(self.search)), replace(paths, trial=paths.trial / "search")

    def search_first(self, spec: TrialSpec, paths: TrialPaths) -> Mapping[str, float]:
        """Search within this trial's folder, or continue it there; what the search reported last."""
        searched, folder = self.search_trial(spec, paths)
        last: dict[str, float] = {}

        def listen(metrics: Mapping[str, float], *, epoch: int) -> None:  # noqa: ARG001 - the protocol's
            last.update(metrics)

        self.searching(searched, listen, folder)
        distributed.wait_for_main_process()  # the process is in a file, which the main process wrote
        return last

    def everywhere(self, context: TrialContext) -> Float[Tensor, "steps pathways"]:
        """Every pathway at each step of the run, by the weight `kd`: the most that a replay can cost."""
        recipe = context.spec.recipe
        steps = recipe.total_steps(steps_per_epoch(len(context.dataset.train), recipe.batch_size))
        return torch.full((steps, len(self.searching.pathways)), self.kd, dtype=torch.float64)

    def weights(self, context: TrialContext) -> tuple[Float[Tensor, "steps pathways"], str]:
        """At each step of the run, 0 where a pathway is not evaluated; and what is to be said of the search.

        `ConfigError` if none ever is.
        """
        everywhere, pathways = self.everywhere(context), self.searching.pathways
        if self.replay == "equal":
            return everywhere, ""
        path = located_path(self.process) if self.process else context.paths.trial / "search" / PROCESS
        process = load_process(path)
        require_pathways(process, pathways, by_place=self.by_place)
        if not (self.published or process.is_significant):
            return everywhere, (
                f"the search could not tell the pathways apart, the largest slope being {process.significance:.1f} "
                f"standard errors after {units.some(process.updates, 'update')}; all have equal weights"
            )
        short = bool(process.slopes) and process.updates < CLIPPED_FROM
        kept = [] if self.published else [at for at, one in enumerate(pathways) if one.transform == SOFT_TARGETS]
        weights = weights_over(
            process,
            len(everywhere),
            final=self.replay == "final",
            clip=0.0 if short and not self.published else self.clip,
            style=self.style,
            kd=self.kd,
            kept=kept,
        )
        if not (weights > 0).any():
            raise ConfigError(f"no pathway of {path} ever weighs {self.clip:g} or more; lower clip")
        return weights, ""


def replayed(
    student: FeatureExtractor,
    ask_teacher: TeacherOutputs,
    losses: PathwayLosses,
    weights: Float[Tensor, "steps pathways"],
    recipe: Recipe,
    each: int,
) -> TrainingObjective:
    """Cross entropy and the pathways that count at the step of a batch of the run, weighted.

    `each`: steps of a whole epoch.
    """
    counted = [row.nonzero().flatten().tolist() for row in weights]
    shares = weights.to(next(student.model.parameters()))

    def objective(batch: Batch) -> Mapping[str, Tensor]:
        step = (batch.epoch - 1) * each + batch.part[1]
        outputs = losses.enter(seen(student(batch.inputs)), counted[step])
        terms = {"ce": label_loss(outputs[LOGITS], batch, recipe.loss, recipe.label_smoothing)}
        if counted[step]:
            teacher_out = seen(ask_teacher(batch))
            for place in counted[step]:
                terms[str(losses.pathways[place])] = shares[step, place] * losses(place, outputs, teacher_out)
        return terms

    return objective


def guiding_macs(
    weights: Float[Tensor, "steps pathways"], teacher: int, losses: PathwayLosses, cost: ConnectorCost
) -> float:
    """Of the teacher and the connectors, for one image, averaged over the steps; where nothing counts, nothing runs."""
    counts = (weights > 0).double()
    connectors = float(counts.mean(dim=0) @ torch.tensor(cost.own, dtype=torch.float64))
    for name, macs in cost.entrances.items():
        through = [place for place in range(len(cost.own)) if losses.input_name(place) == name]
        connectors += macs * float(counts[:, through].amax(dim=1).mean())
    return float(counts.amax(dim=1).mean() * teacher) + STEP * connectors
