"""ProKT: the teacher is trained beside the student, under a constraint to stay near to it, and the student follows it.

Wenxian Shi, Yuxuan Song, Hao Zhou, Bohan Li, Lei Li. Follow Your Path: a Progressive Method for Knowledge Distillation.
2021. arXiv:2107.09305. One step of approximate mirror descent on each batch, in this order: a gradient step of the
teacher on `(1 - lambda) CE(labels, teacher) + lambda KL(student || teacher)`, then one of the student towards the
teacher as it now is. The label reaches the student through the teacher alone.

We had the abstract and the authors' code for texts, not the body of the paper: the step, its order, the directions of
both divergences, lambda = 0.4 and 0.3, temperature 1, heads that begin at zero and the dual ascent with its constants
are read from that code. All that concerns images is ours: the optimizer and schedule are the recipe's for both
networks, the fine-tuned teacher moves at a tenth of the student's rate, and both networks have batch norm. Hence the
default probe: the logits of the student's own training pass, which costs nothing and updates its statistics once.
The authors run the student again in evaluation mode (`probe = "eval"`). Their losses on hidden states are here
members of the student's sum; one that copies something of the teacher when it is made, as srrl does the classifier and
ofd the margins, keeps the copy of the start.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from automl_kd import distributed
from automl_kd.data import Batch
from automl_kd.errors import ConfigError
from automl_kd.losses.base import Example
from automl_kd.losses.cross_entropy import label_loss
from automl_kd.losses.logits.kd import KD
from automl_kd.losses.weighted_sum import Mix, Mixed, parse_entries, read_mix
from automl_kd.methods.base import STEP, CostEstimate, require_whole_steps, train
from automl_kd.methods.dry_run import open_extractors
from automl_kd.methods.prokt.moving_teacher import (
    STARTS,
    detach_outputs,
    probe,
    starting_teacher,
    uncached,
    zero_head,
)
from automl_kd.methods.weighted_losses import dry_run_mix, first_look, weighted_loss_macs
from automl_kd.models.costs.cost import count_cost
from automl_kd.models.features import FeatureExtractor, Outputs
from automl_kd.models.sync_norm import share_norms
from automl_kd.spec import Recipe, Report, TrialPaths, TrialSpec, require, steps_per_epoch
from automl_kd.tasks.soft_targets import kd_loss
from automl_kd.training.checkpoint import OPTIMIZER
from automl_kd.training.gradients import GroupGradients
from automl_kd.training.optimizers import learning_rate, make_optimizer, resume
from automl_kd.training.trial import TrialContext, prepare_trial

TEACHER_WORSE = 1.1
"""Times the teacher's cross entropy in the first epoch; beyond it the method says so."""


def fixed_loss(ce: Tensor, kl: Tensor, weight: float) -> Tensor:
    """The teacher's loss for a fixed multiplier: `weight`, the paper's lambda in [0, 1], is the student's share.

    At temperature 1 its gradient by one image's logits is softmax(teacher) - q, where q is the mixture
    (1 - weight) label + weight softmax(student): the local target to which the teacher moves.
    """
    return (1 - weight) * ce + weight * kl


def dual_loss(ce: Tensor, kl: Tensor, beta: Tensor, epsilon: float) -> Tensor:
    """The Lagrangian of: least cross entropy such that KL(student || teacher) is at most `epsilon`."""
    return ce + beta * (kl - epsilon)


def ascended(beta: Tensor, kl: Tensor, epsilon: float, rate: float) -> Tensor:
    """The multiplier after one step: larger while the divergence exceeds `epsilon`, never below 0."""
    return (beta + rate * (kl.detach() - epsilon)).clamp_min(0)


@dataclass(frozen=True)
class ProKT:
    """Teacher and student trained together, the teacher held near the student. Shi et al. 2021, arXiv:2107.09305.

    `weight`: lambda in [0, 1]; 0 leaves the teacher to the labels alone, 1 makes it copy the student, so that nobody
    learns. `dual`: adapt the multiplier instead, from `beta` >= 0 at the rate `beta_lr` > 0, so that the divergence
    stays below `epsilon` > 0 nats (times the constraint's temperature squared); `weight` then counts for nothing.
    `losses`: what the student learns by, as in `weighted_losses`; the published loss is the divergence without labels.
    `temperature` > 0: of "kd", unless `kd.temperature` is in `losses`. `constraint_temperature` >= 0: of the
    teacher's constraint, whose divergence is times its square, 0 for the same; at 4 lambda counts 16-fold. `interval`
    >= 1: the teacher takes a step on every so many batches, 1 as published, and is asked as it stands on the others.
    `start`:
    "finetuned" takes the trained teacher, "pretrained" gives it a new last layer, "scratch" new weights. `zero_heads`:
    the last layers of both networks begin at zero; not for the fine-tuned teacher, whose it would undo. `teacher_lr` >
    0: the teacher's learning rate in units of the student's, under the same schedule. `probe`: where the teacher's step
    reads the student, "shared" (its training pass) or "eval" (one more, beforehand). `target`: what the student
    follows, "updated" (another pass of the teacher, in evaluation mode) or "stale" (the outputs of the teacher's
    training pass, from before its step: one pass less). `freeze` in [0, 1): the last fraction of all steps, in which
    the teacher stands still.
    """

    needs_teacher: ClassVar[bool] = True
    moves_teacher: ClassVar[bool] = True
    weight: float = field(default=0.3, metadata={"live": True})
    temperature: float = field(default=1.0, metadata={"live": True})
    constraint_temperature: float = field(default=1.0, metadata={"live": True})
    interval: int = 4
    losses: str = field(default="kd=1, ce=0", metadata={"live": True})
    start: str = "finetuned"
    zero_heads: bool = False
    teacher_lr: float = field(default=0.1, metadata={"live": True})
    probe: str = "shared"
    target: str = "updated"
    freeze: float = 0.0
    dual: bool = False
    epsilon: float = field(default=1.0, metadata={"live": True})
    beta: float = 1.0
    beta_lr: float = field(default=1e-3, metadata={"live": True})

    def __post_init__(self) -> None:
        require(0 <= self.weight <= 1, f"weight must lie in [0, 1], got {self.weight}")
        require(0 <= self.freeze < 1, f"freeze must lie in [0, 1), got {self.freeze}")
        require(self.beta >= 0, f"beta must be 0 or more, got {self.beta}")
        require(self.interval >= 1, f"interval must be 1 or more, got {self.interval}")
        require(
            self.constraint_temperature >= 0,
            f"constraint_temperature must be 0 (the same as temperature) or more, got {self.constraint_temperature}",
        )
        for name in ("temperature", "teacher_lr", "epsilon", "beta_lr"):
            require(getattr(self, name) > 0, f"{name} must be above 0, got {getattr(self, name)}")
        require_choice("start", self.start, *STARTS)
        require_choice("probe", self.probe, "shared", "eval")
        require_choice("target", self.target, "updated", "stale")
        require(
            not self.zero_heads or self.start != "finetuned",
            "zero_heads would undo a fine-tuned teacher; set start to 'pretrained' or 'scratch' or zero_heads to false",
        )
        self.mix()

    def mix(self, recipe: Recipe | None = None) -> Mix:
        """The student's losses, with the shared temperature where they leave it open."""
        mix, (_, options) = read_mix(self.losses, recipe=recipe), parse_entries(self.losses)
        if "temperature" in options.get("kd", {}):
            return mix
        shared = KD(temperature=self.temperature)
        return Mix(tuple(dataclasses.replace(part, loss=shared) if part.name == "kd" else part for part in mix.parts))

    def macs(self, student: int, teacher: int) -> int:
        """Without the losses' layers, as for `weighted_losses`. While the teacher stands still it costs one pass."""
        moving = STEP * teacher + teacher * (self.target == "updated") + student * (self.probe == "eval")
        share = (1 - self.freeze) / self.interval
        return STEP * student + round(share * moving + (1 - share) * teacher)

    def dry_run(self, context: TrialContext, teacher: nn.Module) -> None:
        require_whole_norms(context.spec.recipe)
        require_whole_steps(context.spec)
        if self.zero_heads or self.start == "pretrained":
            zero_head(teacher)
        if self.zero_heads:
            zero_head(context.student)
        dry_run_mix(self.mix(), context, teacher)

    def cost(self, spec: TrialSpec, paths: TrialPaths) -> CostEstimate:
        context, network = self.starting_networks(spec, paths)
        mix = self.mix(spec.recipe)
        with open_extractors(context, network, mix.features) as (student, teacher_network):
            example, batch = first_look(context, student, teacher_network)
            return CostEstimate.of(context, self.macs_per_image(context, network, mix.make(example), example, batch))

    def macs_per_image(
        self, context: TrialContext, network: nn.Module, mixed: Mixed, example: Example, batch: Batch
    ) -> int:
        networks = self.macs(context.training_macs, count_cost(network, context.dataset.shape).macs)
        return networks + STEP * weighted_loss_macs(mixed, example, batch)

    def starting_networks(self, spec: TrialSpec, paths: TrialPaths) -> tuple[TrialContext, nn.Module]:
        """The trial with its student, and its teacher, as both begin."""
        require_whole_norms(spec.recipe)
        require_whole_steps(spec)
        context = prepare_trial(spec, paths)
        network = starting_teacher(context, self.start)
        if self.zero_heads:
            for model in (context.student, network):
                zero_head(model)
        return context, network

    def __call__(self, spec: TrialSpec, report: Report, paths: TrialPaths) -> None:
        context, network = self.starting_networks(spec, paths)
        mix = self.mix(spec.recipe)
        with (
            FeatureExtractor(context.student, mix.features.student) as student,
            FeatureExtractor(network, mix.features.teacher) as teacher_network,
        ):
            example, batch = first_look(context, student, teacher_network)
            mixed = mix.make(example)
            teacher = MovingTeacher(self, teacher_network, context)

            def objective(batch: Batch) -> Mapping[str, Tensor]:
                with uncached(batch.inputs.device):
                    learnt, teacher_out = teacher.advance(student, batch)
                    terms: Mapping[str, Tensor] = mixed(learnt, teacher_out, batch)
                    return terms

            def measured(metrics: Mapping[str, float], *, epoch: int) -> None:
                report({**metrics, **teacher.measured(epoch)}, epoch=epoch)

            cost = self.macs_per_image(context, network, mixed, example, batch)
            carried = Carried(mixed, teacher)
            train(context, objective, measured, macs_per_image=cost, loss_modules=carried, remark=teacher.remark)


def require_whole_norms(recipe: Recipe) -> None:
    if recipe.sync_bn_groups > 1:
        raise ConfigError(
            "prokt runs its teacher between steps in evaluation mode, so normalisation must look at whole batches, and "
            f"recipe.sync_bn_groups is {recipe.sync_bn_groups}; set recipe.sync_bn_groups = 1"
        )


def require_choice(name: str, value: str, *known: str) -> None:
    require(value in known, f"{name} must be {' or '.join(map(repr, known))}, got {value!r}")


class MovingTeacher:
    """The teacher in training: network, optimizer, multiplier, how many steps it has seen and what they measured.

    `sums`: (epochs, 3), for each epoch the cross entropies, divergences and multipliers of its steps, summed on the
    device.
    """

    def __init__(self, options: ProKT, teacher_network: FeatureExtractor, context: TrialContext) -> None:
        self.options, self.network, self.recipe = options, teacher_network, context.spec.recipe
        share_norms(teacher_network.model, 1)
        distributed.broadcast_from_main(teacher_network.model.state_dict().values())
        self.parameters = list(teacher_network.model.parameters())
        self.gradients = GroupGradients(self.parameters)
        self.optimizer = make_optimizer(self.parameters, self.recipe)
        self.steps = steps_per_epoch(len(context.dataset.train), self.recipe.batch_size)
        self.moving = round((1 - options.freeze) * self.recipe.total_steps(self.steps))
        device = context.dataset.train.labels.device
        self.beta = torch.tensor(options.beta, device=device)
        self.sums = torch.zeros(self.recipe.epochs, 3, device=device)
        self.step = 0
        teacher_network.model.train()

    def advance(self, student: FeatureExtractor, batch: Batch) -> tuple[Outputs, Outputs]:
        """The student's outputs, with their graph, and those of the teacher, which has taken its step before."""
        moves = self.step < self.moving and self.step % self.options.interval == 0
        again = self.options.probe == "eval"
        self.step += 1
        before = probe(student, batch.inputs) if moves and again else None
        learnt = student(batch.inputs)
        student_logits = (before or learnt).logits.detach()
        return learnt, self.follow(student_logits, batch) if moves else self.stand(student_logits, batch)

    def follow(self, student_logits: Tensor, batch: Batch) -> Outputs:
        """Take one step of the teacher towards the labels, constrained by the student; return its outputs."""
        outputs = self.network(batch.inputs)
        ce, kl = self.losses(outputs.logits, student_logits, batch)
        if self.options.dual:
            loss = dual_loss(ce, kl, self.beta, self.options.epsilon)
            self.beta = ascended(
                self.beta, distributed.mean_over_group(kl.detach()), self.options.epsilon, self.options.beta_lr
            )
        else:
            loss = fixed_loss(ce, kl, self.options.weight)
        self.descend(loss)
        return detach_outputs(outputs) if self.options.target == "stale" else probe(self.network, batch.inputs)

    def stand(self, student_logits: Tensor, batch: Batch) -> Outputs:
        outputs = probe(self.network, batch.inputs)
        self.losses(outputs.logits, student_logits, batch)
        return outputs

    def losses(self, logits: Tensor, student_logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Cross entropy and KL(student || teacher), both of the teacher's `logits`, and noted."""
        ce = label_loss(logits, batch, self.recipe.loss, self.recipe.label_smoothing)
        kl = kd_loss(logits, student_logits, self.options.constraint_temperature or self.options.temperature)
        self.sums[batch.epoch - 1] += distributed.mean_over_group(torch.stack([ce.detach(), kl.detach(), self.beta]))
        return ce, kl

    def descend(self, loss: Tensor) -> None:
        rate = self.options.teacher_lr * learning_rate(self.recipe, self.step - 1, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(loss.device.type, enabled=False):
            self.gradients.backward(loss)
        if self.recipe.clip_norm:
            nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip_norm)
        self.optimizer.step()

    def measured(self, epoch: int) -> dict[str, float]:
        """Means over the steps of `epoch`: the teacher's cross entropy, KL(student || teacher), the dual multiplier."""
        ce, kl, beta = (self.sums[epoch - 1] / self.recipe.steps_in(epoch, self.steps)).tolist()
        return {"teacher_ce": ce, "student_teacher_kl": kl, **({"teacher_beta": beta} if self.options.dual else {})}

    def remark(self) -> str:
        """What is to be said of the teacher's path, or nothing."""
        first, last = (self.measured(epoch)["teacher_ce"] for epoch in (1, self.recipe.epochs))
        if self.recipe.epochs == 1 or last <= first * TEACHER_WORSE:
            return ""
        return (
            f"the teacher became worse: its cross entropy on training images rose from {first:.3g} to {last:.3g}; "
            "lower method.weight or method.teacher_lr"
        )

    @property
    def ended(self) -> bool:
        return self.step == self.recipe.total_steps(self.steps)

    def state(self) -> dict[str, Any]:
        """All that a continued trial needs to compute the same numbers; after the last step no optimizer's memory."""
        saved: dict[str, Any] = {"network": self.network.model.state_dict()}
        if not self.ended:
            saved[OPTIMIZER] = self.optimizer.state_dict()
        return {**saved, "beta": self.beta, "sums": self.sums, "step": self.step}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.network.model.load_state_dict(state["network"])
        if OPTIMIZER in state:
            resume(self.optimizer, state[OPTIMIZER])
        self.beta, self.sums, self.step = state["beta"], state["sums"], state["step"]


class Carried(nn.Module):
    """What the trial carries beside its student: the losses' layers, which the student's optimizer trains, and the
    teacher, which has an optimizer of its own and so is state of this module but no part of it.
    """

    def __init__(self, mixed: Mixed, teacher: MovingTeacher) -> None:
        super().__init__()
        self.mixed, self.teacher = mixed, teacher

    def get_extra_state(self) -> dict[str, Any]:
        return self.teacher.state()

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        self.teacher.restore(state)
