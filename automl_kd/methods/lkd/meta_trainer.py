"""The outer loop of learned distillation: while a student trains, past students give the loss its gradient.

Ran, Huang, Yang. Tailored knowledge distillation with automated loss function learning. 2025. PLoS ONE 20(6): e0325599.
From the paper: past students are recorded, and the loss follows the gradient of the cross entropy that one of them has
on held-out images after a step. The rest is a reconstruction: the step is one of gradient descent without the memory of
momentum, for AdamW too, as long as the optimizer's next step carries this gradient; networks run as in training, on
their batch's statistics; phi moves by AdamW, so that the length of a slope does not matter. The slope is exact
(`automl_kd.bilevel.output_backward`).

A look-ahead is valid where the held-out loss falls along it. Measured on CIFAR-10 at 16 pixels, resnet8 from resnet20,
it rose in 9 of 11 steps as long as momentum carries a gradient in the end, lr / (1 - momentum), and fell in 8 of 11 of
one rate; a loss learned by the longer ones shrinks its own gradient. An update whose look-ahead raises the held-out
loss is refused and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from automl_kd import distributed
from automl_kd.bilevel.base import HyperGradient, Problem, Tensors
from automl_kd.bilevel.distributed import over_process_group
from automl_kd.bilevel.inner_step import SGD, Adam, InnerStep, OptimizerMemory
from automl_kd.bilevel.output_backward import OutputBackward
from automl_kd.bilevel.pure import LOGITS_KEY, GeneratorStates, outputs_of, trainable_parameters
from automl_kd.bilevel.unroll import Unroll
from automl_kd.data import Batch
from automl_kd.errors import DivergedError
from automl_kd.losses.base import LossTerms
from automl_kd.losses.learned.file import HISTORY
from automl_kd.losses.learned.loss import Learned, Phi
from automl_kd.methods.lkd.meta_data import MetaData
from automl_kd.methods.lkd.past_students import KeepPolicy, Past, Pool, Sampling
from automl_kd.models.features import Outputs
from automl_kd.seeds import derive
from automl_kd.training.optimizers import learning_rate

MOST_SKIPPED = 0.05
"""Of all updates, that are not finite."""

MANY_REFUSED = 0.5
"""Of all updates, from which on the method says so."""

Reach = Literal["step", "run"]


@dataclass(frozen=True, kw_only=True)
class MetaSchedule:
    """The schedule of phi's updates.

    `interval`: steps between two updates, on average. `spread`: "fixed", or "gaussian" with a third of it as standard
    deviation. `warmup`: the part of the run before the first one. `lr`, `weight_decay`, `clip`: of phi's AdamW.
    `look_ahead`: inner steps before the outer loss is evaluated. `batch`: the "recorded" step is repeated, or one on a
    "fresh" batch is taken from there. `reach`: how far a look-ahead step carries the gradient, "step" as the next step
    does, lr or with Nesterov's momentum lr (1 + momentum), "run" as all following ones do, lr / (1 - momentum).
    `ratio`: held-out images for each training image of a batch. `pool`, `snapshots`: past students kept, and recorded
    in a run. `anchor`: how strongly weights are held to 1. `give_back`: the part of the run at its end in which nothing
    more is learned, and the student is trained on the held-out images as well.
    """

    interval: int
    spread: Literal["fixed", "gaussian"]
    warmup: float
    lr: float
    weight_decay: float
    clip: float
    anchor: float
    look_ahead: int
    batch: Literal["recorded", "fresh"]
    reach: Reach
    ratio: int
    pool: int
    snapshots: int
    keep: KeepPolicy
    sampling: Sampling
    give_back: float


class MetaTrainer(nn.Module):
    """A training objective that also learns: called with each batch before the student's step, it returns the terms.

    Its parameters, the projections of the learned loss, are the student optimizer's. All else that it remembers (phi,
    its optimizer's memory, the pool, counters) travels in its extra state, so a checkpoint holds it.
    """

    def __init__(self, meta_data: MetaData, learned: Learned, phi: Phi, schedule: MetaSchedule) -> None:
        super().__init__()
        self.meta_data, self.learned, self.schedule = meta_data, learned, schedule
        self.phi = {name: value.detach() for name, value in phi.items()}
        zero = next(iter(self.phi.values())).new_zeros((), dtype=torch.float64)
        self.memories: Mapping[str, OptimizerMemory] = {
            name: {"exp_avg": torch.zeros_like(value), "exp_avg_sq": torch.zeros_like(value), "step": zero}
            for name, value in self.phi.items()
        }
        self.pool = Pool(schedule.pool, schedule.keep)
        self.steps = meta_data.recipe.total_steps(meta_data.steps)
        self.step, self.updates, self.due = 0, 0, max(round(schedule.warmup * self.steps), 1)
        self.skipped, self.refused = torch.zeros_like(zero), torch.zeros_like(zero)
        self.history: list[Phi] = []

    def forward(self, batch: Batch) -> LossTerms:
        if self.step % self.meta_data.steps == 0:
            self.refuse_skipped()
        if self.given_back:
            batch = self.meta_data.with_held(batch, self.rng("held"))
        elif self.step >= self.due:
            self.update(batch.epoch)
            self.due = self.step + self.wait()
        snapshot = self.step % max(self.steps // self.schedule.snapshots, 1) == 0
        if snapshot:
            self.history.append(self.phi)
        draws = GeneratorStates.now(batch.inputs.device) if snapshot and not self.given_back else None
        teacher_out = self.meta_data.ask_teacher(batch)
        seen = self.meta_data.student(batch.inputs)
        if draws is not None:
            self.record(batch, teacher_out, seen, draws)
        self.step += 1
        return dict(self.learned(seen, teacher_out, batch.labels, self.phi))

    @property
    def given_back(self) -> bool:
        """Whether the student is trained on the held-out images by now, and the loss stands."""
        return self.step >= round((1 - self.schedule.give_back) * self.steps)

    def wait(self) -> int:
        """Steps until the next update, at least 1."""
        mean = self.schedule.interval
        if self.schedule.spread == "fixed":
            return mean
        return max(round(float(self.rng("wait").normal(mean, mean / 3))), 1)

    def rng(self, what: str) -> np.random.Generator:
        """Depends on the seed and the step alone, so a continued run draws what an unbroken one draws."""
        return np.random.default_rng(derive(self.meta_data.seed, what, self.step))

    def record(self, batch: Batch, teacher_out: Outputs, seen: Outputs, draws: GeneratorStates) -> None:
        one = Past(
            step=self.step,
            rate=learning_rate(self.meta_data.recipe, self.step, self.meta_data.steps),
            batch=batch,
            weights=copy_weights(trainable_parameters(self.meta_data.student.model)),
            projections=copy_weights(dict(self.learned.named_parameters())),
            teacher_out=teacher_out,
            draws=draws,
            loss=distributed.mean_over_group(F.cross_entropy(seen.logits.detach().float(), batch.labels)),
        )
        self.pool.add(one, self.rng("reservoir"))

    def update(self, epoch: int) -> None:
        """Move phi once, from one past student. Changes nothing else: no weight, buffer, gradient or generator."""
        rng = self.rng("update")
        past = self.pool.draw(self.schedule.sampling, rng)
        batch, teacher_out = past.batch, past.teacher_out
        if self.schedule.batch == "fresh":
            batch, teacher_out = self.meta_data.fresh_batch(epoch, rng)
        held = self.meta_data.held_batch(self.schedule.ratio * self.meta_data.recipe.batch_size, rng)
        with torch.autocast(batch.inputs.device.type, enabled=False):
            found, rise = self.slope(self.problem(past, batch, teacher_out, held), past.weights)
        self.move(found, rise)

    def slope(self, problem: Problem, weights: Tensors) -> tuple[dict[str, Tensor], Tensor]:
        """The hypergradient, how the held-out loss after the step changes with phi; and how far the step raises it."""
        ahead = self.schedule.look_ahead
        gradient: HyperGradient = OutputBackward() if ahead == 1 else Unroll(ahead)
        after = LastValue(problem.outer)
        found = gradient(replace(problem, outer=after), weights, self.phi, over_process_group())
        with torch.no_grad():
            before = problem.outer(weights, self.phi)
        return found, distributed.mean_over_group(after.value - before)

    def problem(self, past: Past, batch: Batch, teacher_out: Outputs, held: Batch) -> Problem:
        meta_data, recipe = self.meta_data, self.meta_data.recipe
        teacher_out = as_float(teacher_out)

        def loss(seen: Tensors, phi: Tensors) -> Tensor:
            given = (named_outputs(seen), teacher_out, batch.labels, phi)
            terms: LossTerms = functional_call(self.learned, dict(past.projections), given)
            return torch.stack(list(terms.values())).sum()

        validate = outputs_of(meta_data.student, held.inputs, past.draws, parts=held.parts)
        outputs = outputs_of(meta_data.student, batch.inputs, past.draws, parts=batch.parts)
        departure = self.departure(past, batch, teacher_out)

        def outer(weights: Tensors, phi: Tensors) -> Tensor:
            return F.cross_entropy(validate(weights)[LOGITS_KEY], held.labels) + departure(phi)

        momentum, decay = (recipe.momentum, recipe.weight_decay) if recipe.optimizer == "sgd" else (0.0, 0.0)
        reach = 1 / (1 - momentum) if self.schedule.reach == "run" else 1 + momentum * recipe.nesterov
        rule = SGD(lr=past.rate * reach, weight_decay=decay)
        step = InnerStep.same(rule, past.weights, recipe.clip_norm)
        return Problem(loss=loss, outer=outer, step=step, outputs=outputs)

    def departure(self, past: Past, batch: Batch, teacher_out: Outputs) -> Callable[[Tensors], Tensor]:
        """The anchor's part of the outer loss, which looks at the past student as it was before the step."""
        if not self.schedule.anchor:
            return lambda _phi: batch.inputs.new_zeros(())
        with torch.no_grad():
            seen = named_outputs(
                outputs_of(self.meta_data.student, batch.inputs, past.draws, parts=batch.parts)(past.weights)
            )
        return lambda phi: self.schedule.anchor * self.learned.departure(seen, teacher_out, batch.labels, phi)

    def move(self, slope: Tensors, rise: Tensor) -> None:
        """One step of AdamW on phi, or none where the slope is not finite or the held-out loss rises by `rise`.

        Decided without waiting for the device.
        """
        # Decoupled, because the slopes are as small as the inner rate and a decay among them would drown them.
        rule = Adam(lr=self.schedule.lr, weight_decay=self.schedule.weight_decay, decoupled=True)
        step = InnerStep(rules=dict.fromkeys(self.phi, rule), memories=self.memories, clip_norm=self.schedule.clip)
        after, following = step.take(self.phi, slope)
        sound = torch.stack([value.isfinite().all() for value in slope.values()]).all()
        valid = sound & ~(rise > 0)
        self.memories = {name: chosen(valid, following.memories[name], old) for name, old in self.memories.items()}
        self.phi = chosen(valid, after, self.phi)
        self.skipped, self.refused = self.skipped + (~sound), self.refused + (sound & ~valid)
        self.updates += 1

    def refuse_skipped(self) -> None:
        if self.updates and (lost := int(self.skipped.item())) > MOST_SKIPPED * self.updates:
            raise DivergedError(
                f"{lost} of {self.updates} updates of the learned loss were not finite; lower recipe.lr or method.lr"
            )

    def remark(self) -> str:
        """What is to be said of the learning, or nothing."""
        if not self.updates:
            return (
                f"the loss was not learned: {self.steps} steps leave no update; lower method.interval or method.warmup"
            )
        refused = int(self.refused.item())
        if refused < MANY_REFUSED * self.updates:
            return ""
        return (
            f"the loss learned little: {refused} of {self.updates} updates were refused, as the held-out loss rose "
            "along their look-ahead; lower recipe.lr"
        )

    def get_extra_state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "updates": self.updates,
            "due": self.due,
            "skipped": self.skipped,
            "refused": self.refused,
            "phi": dict(self.phi),
            "memories": {name: dict(memory) for name, memory in self.memories.items()},
            "recorded": self.pool.recorded,
            "past": [one.state() for one in self.pool.past],
            HISTORY: [dict(phi) for phi in self.history],
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.step, self.updates, self.due = state["step"], state["updates"], state["due"]
        self.skipped, self.phi, self.memories = state["skipped"], state["phi"], state["memories"]
        self.refused = state.get("refused", torch.zeros_like(self.skipped))  # absent before updates were refused
        self.history, self.pool.recorded = state[HISTORY], state["recorded"]
        self.pool.past = [Past.of(past, self.meta_data.view) for past in state["past"]]


class LastValue:
    """An outer loss that remembers what it was where it was last asked."""

    def __init__(self, outer: Callable[[Tensors, Tensors], Tensor]) -> None:
        self.outer = outer
        self.value = torch.zeros(())

    def __call__(self, weights: Tensors, phi: Tensors) -> Tensor:
        found = self.outer(weights, phi)
        self.value = found.detach()
        return found


def copy_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in weights.items()}


def chosen(sound: Tensor, new: Tensors, old: Tensors) -> dict[str, Tensor]:
    return {name: torch.where(sound, new[name], old[name]) for name in old}


def named_outputs(seen: Tensors) -> Outputs:
    return Outputs(seen[LOGITS_KEY], {name: value for name, value in seen.items() if name != LOGITS_KEY})


def as_float(outputs: Outputs) -> Outputs:
    """Raised from the half precision in which a teacher may have spoken under autocast."""

    def lifted(value: Tensor) -> Tensor:
        return value.float() if value.dtype in {torch.float16, torch.bfloat16} else value

    return Outputs(lifted(outputs.logits), {name: lifted(value) for name, value in outputs.features.items()})
