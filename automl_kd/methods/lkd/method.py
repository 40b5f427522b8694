"""Learned distillation: a small network is the loss, trained by its effect on past students.

Ran, Huang, Yang. Tailored knowledge distillation with automated loss function learning. 2025. PLoS ONE 20(6): e0325599.
From the paper: a loss network for logits and one for maps, moved by the held-out cross entropy of students that were
recorded on the way; uniform or other sampling of these; a fixed or Gaussian interval; the recorded batch or another;
several ways of using the loss. The paper's equations and constants could not be recovered: those here are options, and
their defaults a reconstruction. Our decisions: `methods/lkd/meta_trainer.py`, `methods/lkd/past_students.py`,
`losses/learned/loss.py`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from automl_kd import distributed, storage
from automl_kd.data import Batch
from automl_kd.errors import CheckpointError
from automl_kd.losses.base import Example, FeatureNames, read_stages
from automl_kd.losses.learned.file import LearnedLoss, load_learned, save_learned
from automl_kd.losses.learned.loss import Learned, LossForm, LossLayout, Phi, Weighing
from automl_kd.losses.learned.start import initial_phi
from automl_kd.losses.learned.surface import probabilities, surface
from automl_kd.methods.base import (
    STEP,
    CostEstimate,
    after_search,
    count_epochs,
    require_whole_steps,
    search_costs,
    train,
)
from automl_kd.methods.dry_run import DRY_RUN_IMAGES, open_extractors
from automl_kd.methods.lkd.cost import learned_loss_macs, start_macs, update_macs
from automl_kd.methods.lkd.meta_data import MetaData, hold_out_images
from automl_kd.methods.lkd.meta_trainer import MetaSchedule, MetaTrainer, Reach
from automl_kd.methods.lkd.past_students import KeepPolicy, Sampling
from automl_kd.methods.weighted_losses import first_look
from automl_kd.models.costs.cost import count_cost
from automl_kd.models.features import FeatureExtractor
from automl_kd.registry import check_fields
from automl_kd.seeds import derive
from automl_kd.spec import Report, TrialPaths, TrialSpec, require
from automl_kd.storage.content_hash import located_path
from automl_kd.teacher_cache.cached_teacher import teacher_outputs
from automl_kd.training.loop import fit_student
from automl_kd.training.trial import TrialContext, load_teacher, prepare_trial

LearningMode = Literal["joint", "retrain", "two_stage_dynamic"]

LOSS_FILE, PICTURE = "learned_loss.pt", "learned_loss.svg"


@dataclass(frozen=True)
class LKD:
    """Labels and a loss learned on the way from past students. Ran et al. 2025, PLoS ONE 20(6): e0325599.

    `mode`: "joint" keeps the student that the loss was learned with; "retrain" trains a new one on all training images
    under the final loss, "two_stage_dynamic" under the losses in the order in which they were learned.
    `loss`: a learned_loss.pt of another trial. Mode "joint" goes on learning from there; the others use it as it is.
    `form`, `label`, `rescale`, `stages`: see `losses/learned/loss.py`; without stages no maps are compared.
    `ce`, `weight`, `map_weight` >= 0: of the labels, the learned loss of logits (0 leaves it out) and that of maps.
    `rescale`: the logits' part keeps the gradient length of KD, so that a learned loss is no rate; off, as a loss that
    cannot switch a wrong teacher off follows it (a teacher wrong on three classes of ten: 72 % where it reaches 80 %).
    `held_out`: the part of the training images in (0, 1) that the loss, and not the student, is trained on. In the last
    `give_back` of the run, in [0, 1), the loss stands and the student is trained on them too, in the mode "joint".
    The others: see `MetaSchedule` in `methods/lkd/meta_trainer.py`. A trial leaves learned_loss.pt and a drawing of it
    in its folder.
    """

    needs_teacher: ClassVar[bool] = True
    plain_labels: ClassVar[bool] = True
    mode: LearningMode = "joint"
    loss: str = field(default="", metadata={"file": True})
    temperature: float = 4.0
    ce: float = 0.1
    weight: float = 0.9
    stages: str = ""
    map_weight: float = 1.0
    form: LossForm = "weighted"
    label: bool = True
    rescale: bool = False
    held_out: float = 0.1
    give_back: float = 0.3
    interval: int = 10
    spread: Literal["fixed", "gaussian"] = "fixed"
    warmup: float = 0.05
    lr: float = 3e-3
    weight_decay: float = 1e-4
    clip: float = 1.0
    anchor: float = 0.0
    look_ahead: int = 1
    batch: Literal["recorded", "fresh"] = "recorded"
    reach: Reach = "step"
    ratio: int = 2
    pool: int = 20
    snapshots: int = 100
    keep: KeepPolicy = "window"
    sampling: Sampling = "uniform"

    def __post_init__(self) -> None:
        check_fields(self)
        require(self.temperature > 0, f"temperature must be above 0, got {self.temperature}")
        for name in ("ce", "weight", "map_weight", "weight_decay", "clip", "anchor"):
            require(getattr(self, name) >= 0, f"{name} must be 0 or more, got {getattr(self, name)}")
        for name in ("interval", "ratio", "pool", "snapshots"):
            require(getattr(self, name) >= 1, f"{name} must be 1 or more, got {getattr(self, name)}")
        require(self.lr > 0, f"lr must be above 0, got {self.lr}")
        require(1 <= self.look_ahead <= 5, f"look_ahead must lie in 1 to 5, got {self.look_ahead}")
        require(0 < self.held_out < 1, f"held_out must lie between 0 and 1, got {self.held_out}")
        require(0 <= self.warmup < 1, f"warmup must lie in [0, 1), got {self.warmup}")
        require(0 <= self.give_back < 1, f"give_back must lie in [0, 1), got {self.give_back}")
        maps = bool(self.stages and read_stages(self.stages) and self.map_weight)
        require(maps or not self.stages, "stages are named and map_weight is 0; drop the stages")
        require(bool(self.weight) or maps, "weight is 0 and no stages are named; give the learned loss one of them")
        gated = maps or self.form == "weighted"
        require(gated or not self.anchor, "anchor holds weights to 1 and the free form has none; set anchor = 0")

    @property
    def layout(self) -> LossLayout:
        pairs = len(read_stages(self.stages)) if self.stages else 0
        return LossLayout(form=self.form, label=self.label, logits=self.weight > 0, pairs=pairs)

    @property
    def cached_features(self) -> tuple[str, ...] | None:
        """None in the mode "joint", whose batches are of fewer images than other trials have."""
        if self.mode == "joint":
            return None
        return tuple(FeatureNames.of(self.stages).teacher) if self.stages else ()

    @property
    def schedule(self) -> MetaSchedule:
        return MetaSchedule(**{item.name: getattr(self, item.name) for item in fields(MetaSchedule)})

    def macs(self, student: int, teacher: int, loss: int = 0) -> int:
        """Averaged over the training images, held-out ones included, those of a learning before counted in.

        `loss`: of the learned loss with its gradient; known only where the networks are, so trials report it.
        """
        learning = round((1 - self.held_out) * self.learning_macs(student, teacher, loss))
        if self.mode == "joint":
            return learning
        return STEP * student + loss + teacher + (0 if self.loss else learning)

    def learning_macs(self, student: int, teacher: int, loss: int) -> float:
        """Of one image that the student is trained on while the loss is learned: a step, and a part of an update."""
        fresh = teacher if self.batch == "fresh" else 0
        update = update_macs(student, loss, look_ahead=self.look_ahead, ratio=self.ratio, anchored=self.anchor > 0)
        learned = max(0.0, 1 - self.warmup - (self.give_back if self.mode == "joint" else 0.0))
        return STEP * student + loss + teacher + (update + fresh) * learned / self.interval

    def dry_run(self, context: TrialContext, teacher: nn.Module) -> None:
        if self.mode == "joint" or not self.loss:
            require_whole_steps(context.spec)
            hold_out_images(context.dataset, self.held_out, seed=context.spec.data.split_seed)
        with open_extractors(context, teacher, FeatureNames.of(self.stages) if self.stages else FeatureNames()) as (
            student,
            teacher_network,
        ):
            example, batch = first_look(context, student, teacher_network, examples=DRY_RUN_IMAGES)
            learned_loss_macs(self.made(context, example), example, batch, self.start(context))

    def cost(self, spec: TrialSpec, paths: TrialPaths) -> CostEstimate:
        """By the loss that the trial begins with; what is learned before counts in `macs`."""
        context, joint = prepare_trial(spec, paths), self.mode == "joint"
        teacher = load_teacher(context)
        if joint:
            require_whole_steps(spec)
            dataset, _ = hold_out_images(context.dataset, self.held_out, seed=spec.data.split_seed)
            context = replace(context, dataset=dataset)
        with (
            self.feature_extractor(context.student, "student") as student,
            self.feature_extractor(teacher, "teacher") as teacher_network,
        ):
            example, batch = first_look(context, student, teacher_network)
            own = learned_loss_macs(self.made(context, example), example, batch, self.start(context))
        count = self.learning_macs if joint else self.macs
        each = count(context.training_macs, count_cost(teacher, context.dataset.shape).macs, own)
        return CostEstimate.of(context, round(each + self.start_share(context)))

    def __call__(self, spec: TrialSpec, report: Report, paths: TrialPaths) -> None:
        context = prepare_trial(spec, paths)
        teacher = load_teacher(context)
        if self.mode == "joint":
            self.leave(context, self.learn(context, teacher, report)[0])
            return
        found, remark, costs = (self.given(context), "", {}) if self.loss else self.search(context, teacher)
        self.leave(context, found)
        self.follow(context, teacher, found, after_search(report, costs), remark)

    def given(self, context: TrialContext) -> LearnedLoss:
        found = load_learned(located_path(self.loss), self.layout, next(context.student.parameters()))
        if found.temperature != self.temperature:
            raise CheckpointError(
                f"{located_path(self.loss)} was learned at the temperature {found.temperature:g}, and the option is "
                f"{self.temperature:g}; set temperature = {found.temperature:g}"
            )
        return found

    def start(self, context: TrialContext) -> Phi:
        if self.loss:
            return self.given(context).phi
        like = next(context.student.parameters())
        found = initial_phi(self.layout, self.temperature, seed=derive(context.spec.seed, "phi"))
        return {name: value.to(like) for name, value in found.items()}

    def timed_start(self, context: TrialContext, report: Report) -> tuple[Phi, Report]:
        """What the loss begins with, and `report` with the seconds that fitting it took, where it is fitted."""
        begun = time.perf_counter()
        found = self.start(context)
        taken = {"seconds": time.perf_counter() - begun} if self.start_share(context) else {}
        return found, after_search(report, taken)

    def start_share(self, context: TrialContext) -> float:
        """Multiply-adds of fitting the free form before the training, for each image that the whole run sees."""
        images = len(context.dataset.train)
        return 0.0 if self.loss else start_macs(self.layout) / (context.spec.recipe.passes(images) * images)

    def search(self, context: TrialContext, teacher: nn.Module) -> tuple[LearnedLoss, str, dict[str, float]]:
        """Learn the loss with a student that is thrown away, in a folder of its own; and what that took.

        Its accuracies are not reported.
        """
        spec, paths = context.spec, context.paths
        own = prepare_trial(
            replace(spec, seed=derive(spec.seed, "search")), replace(paths, trial=paths.trial / "search")
        )
        history: list[Mapping[str, float]] = []

        def listen(metrics: Mapping[str, float], *, epoch: int) -> None:  # noqa: ARG001 - the protocol's
            history.append(metrics)

        found, remark = self.learn(replace(own, cache_stats=context.cache_stats), teacher, listen, counts=False)
        return found, remark, search_costs(history)

    def learn(
        self, context: TrialContext, teacher: nn.Module, report: Report, *, counts: bool = True
    ) -> tuple[LearnedLoss, str]:
        """Train the context's student and the loss together; the loss, and what is to be said of its learning.

        `counts`: whether the student is the trial's. One that is thrown away needs the held-out images in no epoch,
        and of it `report` gets only what its epochs measured.
        """
        spec = context.spec
        require_whole_steps(spec)
        dataset, held = hold_out_images(context.dataset, self.held_out, seed=spec.data.split_seed)
        context = replace(context, dataset=dataset)
        with (
            self.feature_extractor(context.student, "student") as student,
            self.feature_extractor(teacher, "teacher") as teacher_network,
        ):
            example, batch = first_look(context, student, teacher_network)
            learned, (phi, report) = self.made(context, example), self.timed_start(context, report)
            meta_data = MetaData(
                student, teacher_outputs(context, teacher_network), dataset, held, spec.recipe, spec.seed
            )
            schedule = self.schedule if counts else replace(self.schedule, give_back=0.0)
            meta_trainer = MetaTrainer(meta_data, learned, phi, schedule)
            if not counts:
                fit_student(
                    context.student,
                    meta_trainer,
                    dataset,
                    spec.recipe,
                    seed=spec.seed,
                    folder=context.paths.trial,
                    report=report,
                    finish=dict,
                    loss_modules=meta_trainer,
                    cache_stats=count_epochs(context),
                    checkpoint_minutes=context.paths.checkpoint_minutes,
                )
            else:
                own = learned_loss_macs(learned, example, batch, phi)
                cost = self.learning_macs(context.training_macs, count_cost(teacher, dataset.shape).macs, own)
                train(
                    context,
                    meta_trainer,
                    report,
                    macs_per_image=round(cost + self.start_share(context)),
                    loss_modules=meta_trainer,
                    remark=meta_trainer.remark,
                )
        found = LearnedLoss(self.layout, self.temperature, meta_trainer.phi, [*meta_trainer.history])
        return found, meta_trainer.remark()

    def follow(
        self, context: TrialContext, teacher: nn.Module, found: LearnedLoss, report: Report, remark: str
    ) -> None:
        """Train the context's student on all training images under a loss that is learned no further."""
        epochs, dynamic = context.spec.recipe.length, self.mode == "two_stage_dynamic"
        with (
            self.feature_extractor(context.student, "student") as student,
            self.feature_extractor(teacher, "teacher") as teacher_network,
        ):
            example, first_batch = first_look(context, student, teacher_network)
            learned, ask_teacher = self.made(context, example), teacher_outputs(context, teacher_network)

            def objective(batch: Batch) -> Mapping[str, Tensor]:
                teacher_out = ask_teacher(batch)
                phi = found.at((batch.epoch - 1) / epochs) if dynamic else found.phi
                terms: Mapping[str, Tensor] = learned(student(batch.inputs), teacher_out, batch.labels, phi)
                return terms

            own = learned_loss_macs(learned, example, first_batch, found.phi)
            each = self.macs(context.training_macs, count_cost(teacher, context.dataset.shape).macs, own)
            cost = round(each + self.start_share(context))
            train(context, objective, report, macs_per_image=cost, loss_modules=learned, remark=lambda: remark)

    def feature_extractor(self, model: nn.Module, side: Literal["student", "teacher"]) -> FeatureExtractor:
        features = FeatureNames.of(self.stages) if self.stages else FeatureNames()
        return FeatureExtractor(model, features.student if side == "student" else features.teacher)

    def made(self, context: TrialContext, example: Example) -> Learned:
        weighing = Weighing(
            layout=self.layout,
            temperature=self.temperature,
            ce=self.ce,
            logits=self.weight,
            maps=self.map_weight,
            stages=self.stages,
            rescale=self.rescale,
            label_smoothing=context.spec.recipe.label_smoothing,
        )
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derive(context.spec.seed, "projections") % 2**32)
            return Learned(weighing, example)

    def leave(self, context: TrialContext, found: LearnedLoss) -> None:
        """Put the learned loss and its picture into the trial's folder."""
        if not distributed.is_main_process():
            return
        folder = context.paths.trial
        save_learned(found, folder / LOSS_FILE)
        surfaces = surface(found.phi, found.layout, found.temperature, context.dataset.shape.classes)
        if surfaces:
            from automl_kd.methods.lkd.drawing import learned_loss_svg  # noqa: PLC0415  a second to import

            what = "weight" if self.form == "weighted" else "cost"
            storage.write(folder / PICTURE, learned_loss_svg(surfaces, probabilities(), what))
