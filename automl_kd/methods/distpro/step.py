"""A training step that also moves the pathways' weights, by a hypergradient through that very step.

Xueqing Deng, Dawei Sun, Shawn Newsam, Peng Wang. DistPro: Searching A Fast Knowledge Distillation Process via Meta
Optimization. 2022. arXiv:2204.05547. The published code takes a virtual step, moves alpha by a finite difference
through it, and then trains on the same batch ("sequential" here); its virtual step leaves Nesterov's part out, its
weights are not put back after it, and the teacher's batch normalisation drifts. Here every step is the optimizer's
own, nothing but the real step touches weights or buffers, and the derivative is exact. The "lagged" order, ours, looks
through the real step: alpha changes one batch later and half of the work falls away.

Where a hypergradient is taken on a part of the batch, the derivative is the part's over the part's share, as the
gradient of a mean is: right on average, but that batch normalisation has the part's statistics in it, and layers that
draw, as dropout, draw anew. What the student and pathways have in common behind it goes through the pass in dual
numbers as a part of the student.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from automl_kd import distributed
from automl_kd.bilevel.backbone_jvp import Captured, pathway_gradient
from automl_kd.bilevel.base import Tensors, copies, gradient, leaves
from automl_kd.bilevel.distributed import over_process_group
from automl_kd.bilevel.inner_step import InnerStep
from automl_kd.bilevel.pure import LOGITS_KEY, Behind, GeneratorStates, outputs_of, trainable_parameters
from automl_kd.bilevel.real_optimizer import step_of
from automl_kd.bilevel.tangents import forward_mode
from automl_kd.data import Batch
from automl_kd.losses.cross_entropy import cross_entropy
from automl_kd.methods.distpro.pathways import PathwayLosses, seen
from automl_kd.methods.distpro.process import weigh
from automl_kd.models.features import FeatureExtractor
from automl_kd.teacher_cache.cached_teacher import TeacherOutputs
from automl_kd.training.checkpoint import OPTIMIZER
from automl_kd.training.evaluate import autocast
from automl_kd.training.optimizers import resume
from automl_kd.training.training_run import TrainingRun

BETAS = (0.5, 0.999)
"""Of alpha's Adam, as published."""

SEARCH_PARTS = 10
"""The second moment of alpha's Adam remembers about so many parts of a search: the published one outlives a search of
76 updates, and its first spikes hold alpha still.
"""

LEAST_RATE = 1e-12
"""By which a slope is divided where the rate has come to 0."""

CONNECTOR, ENTRANCE = "connector/", "connector/entrances."
"""Before the names of connectors' weights, apart from the student's; and of those which pathways share."""

LEAST_PART = 8
"""Images of a batch on which a hypergradient is taken at the least, of a smaller batch all: statistics need some."""


class Weighting(nn.Module):
    """The pathways' losses with the alpha that weighs them: its optimizer, and what it was after recorded steps.

    `like`: a tensor whose device and type alpha has, the student's. `betas`: of alpha's Adam. `steps`: length of the
    search. `record`: alpha is kept after each so many steps, and after the last one. Of the slopes of the outer loss by
    each weight the mean and its standard error are kept.
    """

    alpha: Tensor

    def __init__(
        self,
        losses: PathwayLosses,
        like: Tensor,
        *,
        style: str,
        kd: float,
        lr: float,
        steps: int,
        record: int,
        betas: tuple[float, float] = BETAS,
    ) -> None:
        super().__init__()
        self.losses, self.style, self.kd, self.steps, self.record = losses, style, kd, steps, record
        # A buffer, because the student's optimizer takes all parameters there are.
        self.register_buffer("alpha", like.new_ones(len(losses.pathways)))
        self.optimizer = torch.optim.Adam([self.alpha], lr=lr, betas=betas)
        self.slopes = Moments(torch.zeros_like(self.alpha, dtype=torch.float64))
        self.moments: list[int] = []
        self.rows: list[Tensor] = []

    def strengths(self) -> Float[Tensor, " pathways"]:
        return weigh(self.style, self.alpha, self.kd)

    def turn(self, h: Float[Tensor, " pathways"]) -> None:
        """One step of alpha, given the outer loss's gradient by the weights."""
        self.slopes.add(h)
        alpha = self.alpha.detach().requires_grad_()
        weights = weigh(self.style, alpha, self.kd)
        if not weights.requires_grad:  # equal weights, whatever alpha
            return
        (self.alpha.grad,) = torch.autograd.grad(weights, alpha, h.to(weights.dtype))
        self.optimizer.step()
        self.alpha.grad = None

    def note(self, step: int) -> None:
        if step % self.record == 0 or step == self.steps - 1:
            self.moments.append(step)
            self.rows.append(self.alpha.clone())

    @property
    def complete(self) -> bool:
        return bool(self.moments) and self.moments[-1] == self.steps - 1

    def get_extra_state(self) -> dict[str, Any]:
        return {
            OPTIMIZER: self.optimizer.state_dict(),
            "moments": list(self.moments),
            "rows": list(self.rows),
            "slopes": self.slopes.state(),
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        resume(self.optimizer, state[OPTIMIZER])
        self.moments, self.rows = list(state["moments"]), list(state["rows"])
        if "slopes" in state:  # absent before they were kept
            self.slopes.restore(state["slopes"])


class Moments:
    """Mean and standard error of vectors that come one by one, each taken for independent of the others."""

    def __init__(self, zero: Tensor) -> None:
        self.count, self.total, self.squares = 0, zero, zero

    def add(self, values: Tensor) -> None:
        """Without waiting for the device."""
        self.count += 1
        self.total = self.total + values.double()
        self.squares = self.squares + values.double().square()

    def mean_and_error(self) -> tuple[list[float], list[float]]:
        """By element; errors are infinite with fewer than two vectors."""
        if self.count < 2:
            return self.total.tolist(), [math.inf] * len(self.total)
        mean = self.total / self.count
        variance = (self.squares / self.count - mean.square()).clamp_min(0) / (self.count - 1)
        return mean.tolist(), variance.sqrt().tolist()

    def state(self) -> dict[str, Any]:
        return {"count": self.count, "total": self.total, "squares": self.squares}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.count, self.total, self.squares = state["count"], state["total"], state["squares"]


def betas_for(updates: int) -> tuple[float, float]:
    """Of alpha's Adam in a search of so many updates, 1 or more; as published from about 10,000 on."""
    return BETAS[0], min(BETAS[1], 1 - 1 / (1 + updates / SEARCH_PARTS))


@dataclass(frozen=True, eq=False)
class StepRecord:
    """What the derivative of a step must know: all from before it, and what its backward pass leaves in `captured`.

    `weights`: those that the step is a function of; `entrances`: of the layers that pathways share.
    """

    weights: dict[str, Tensor]
    entrances: dict[str, Tensor]
    step: InnerStep
    draws: GeneratorStates
    strengths: Float[Tensor, " pathways"]
    captured: Captured


@dataclass(frozen=True, eq=False, kw_only=True)
class SearchStep:
    """The step of a search, as `OwnStep` takes it.

    `outer`: the batch on which hypergradient number i is taken. `interval`: steps from one hypergradient to the next.
    `per_rate`: slopes are divided by how far a step carries a gradient, eta (1 + mu) with Nesterov's momentum, as else
    those at the end of a falling rate count for nothing. `share`: fraction of a batch's images on which a
    hypergradient is taken.
    """

    weighting: Weighting
    student: FeatureExtractor
    ask_teacher: TeacherOutputs
    outer: Callable[[int], Batch]
    order: str = "lagged"
    interval: int = 1
    smoothing: float = 0.0
    per_rate: bool = False
    share: float = 1.0

    @cached_property
    def weights(self) -> dict[str, nn.Parameter]:
        """The student's own tensors."""
        return trainable_parameters(self.student.model)

    @cached_property
    def trained(self) -> dict[str, nn.Parameter]:
        """The student's weights and the connectors'."""
        connectors = trainable_parameters(self.weighting.losses).items()
        return {**self.weights, **{CONNECTOR + name: value for name, value in connectors}}

    @cached_property
    def entrances(self) -> dict[str, nn.Parameter]:
        return {name: value for name, value in self.trained.items() if name.startswith(ENTRANCE)}

    def __call__(self, run: TrainingRun, batch: Batch, number: int) -> Tensor:
        run.set_rate(number)
        if number % self.interval:
            loss = run.descend(weighted(*self.terms(run, batch), self.weighting.strengths()))
        else:
            take = self.lagged if self.order == "lagged" else self.sequential
            loss = take(run, batch, self.outer(number // self.interval))
        self.weighting.note(number)
        return loss

    def lagged(self, run: TrainingRun, batch: Batch, held_out: Batch) -> Tensor:
        """The real step, and the hypergradient through it."""
        look = self.look(run)
        loss = weighted(*self.terms(run, batch, look.captured), look.strengths)
        run.optimizer.zero_grad(set_to_none=True)
        run.gradients.backward(loss)
        slopes = {name: value.grad for name, value in self.trained.items() if value.grad is not None}
        # Clipping changes gradients in place.
        slopes = copies(slopes) if run.recipe.clip_norm else slopes
        run.advance()
        self.weighting.turn(self.hypergradient(look, slopes, self.weights, batch, held_out) / self.reach(run))
        return loss.detach()

    def sequential(self, run: TrainingRun, batch: Batch, held_out: Batch) -> Tensor:
        """A virtual step, the hypergradient through it, and the real step on the same outputs with the new alpha."""
        look = self.look(run)
        base, losses = self.terms(run, batch, look.captured)
        loss = weighted(base, losses, look.strengths)
        found = torch.autograd.grad(loss, list(self.trained.values()), retain_graph=True, allow_unused=True)
        slopes = over_process_group()(
            {name: slope for name, slope in zip(self.trained, found, strict=True) if slope is not None}
        )
        ahead, _ = look.step.take(look.weights, {name: slopes[name] for name in slopes if name in look.weights})
        self.weighting.turn(self.hypergradient(look, slopes, ahead, batch, held_out) / self.reach(run))
        return run.descend(weighted(base, losses, self.weighting.strengths()))

    def reach(self, run: TrainingRun) -> float:
        """How far the step that was just taken carries a gradient, or 1."""
        if not self.per_rate:
            return 1.0
        group, recipe = run.optimizer.param_groups[0], run.recipe
        ahead = recipe.momentum if recipe.optimizer == "sgd" and recipe.nesterov else 0.0
        return max(float(group["lr"]), LEAST_RATE) * (1 + ahead)

    def look(self, run: TrainingRun) -> StepRecord:
        clip = run.recipe.clip_norm
        # Only a norm that is taken over all of them ties the student's step to the connectors' gradients.
        stepped = self.trained if clip else self.weights
        return StepRecord(
            weights=copies(stepped),
            entrances=copies(self.entrances),
            step=step_of(run.optimizer, stepped, clip),
            draws=GeneratorStates.now(run.device),
            strengths=self.weighting.strengths(),
            captured=Captured(),
        )

    def terms(self, run: TrainingRun, batch: Batch, captured: Captured | None = None) -> tuple[Tensor, Tensor]:
        """Cross entropy, and the pathways' losses, whose slopes at the student's outputs go to `captured`."""
        losses = self.weighting.losses
        with autocast(run.device, run.recipe):
            teacher_out = seen(self.ask_teacher(batch))
            outputs = losses.enter(seen(self.student(batch.inputs)))
            base = cross_entropy(outputs[LOGITS_KEY], batch.labels, label_smoothing=self.smoothing)
            found = []
            for place in range(len(losses.pathways)):
                used = {losses.input_name(place): outputs[losses.input_name(place)]}
                found.append(losses(place, captured.aliases(place, used) if captured else used, teacher_out))
        return base, torch.stack([to_full_precision(one) for one in found])

    def hypergradient(
        self, look: StepRecord, slopes: Tensors, after: Tensors, batch: Batch, held_out: Batch
    ) -> Float[Tensor, " pathways"]:
        """How the outer loss at the weights `after` the step grows with each pathway's weight in it."""
        inner = {name: slope for name, slope in slopes.items() if name in look.weights}
        u = look.step.direction(look.weights, inner, self.outer_gradient(after, held_out))
        held = {name: look.weights[name] for name in self.weights} | look.entrances
        rows, part = self.chosen(batch)
        losses = self.weighting.losses
        behind = Behind(losses, losses.enter, CONNECTOR) if look.entrances else None
        outputs = outputs_of(self.student, batch.inputs[rows], look.draws, behind=behind)
        _, tangents = forward_mode(outputs, held, {name: value for name, value in u.items() if name in held})
        # A connector moves its own pathway alone, and its gradient is that of w times its loss, as what is captured is.
        tangents |= {name: value for name, value in u.items() if name not in held}
        for place, captured in look.captured.gradients.items():
            prefix = f"{CONNECTOR}connectors.{place}."
            captured.update({name: value[rows] for name, value in captured.items()})
            captured |= {name: part * value for name, value in inner.items() if name.startswith(prefix)}
        h = pathway_gradient(look.captured, tangents, look.strengths, part)
        return over_process_group()({"h": h})["h"]

    def chosen(self, batch: Batch) -> tuple[Tensor, float]:
        """On which of the images at hand a hypergradient is taken, and which fraction of the whole batch all these are.

        Evenly spaced over the whole batch, so that however many processes share it they take the same ones.
        """
        own = len(batch)
        whole, first = own * batch.parts, own * (distributed.shard_index() if batch.parts > 1 else 0)
        wanted = min(whole, max(LEAST_PART, round(self.share * whole)))
        places = torch.arange(first, first + own)
        rows = ((places + 1) * wanted // whole > places * wanted // whole).nonzero().flatten()
        return rows.to(batch.inputs.device), wanted / whole

    def outer_gradient(self, after: Tensors, held_out: Batch) -> dict[str, Tensor]:
        """v: the gradient of the cross entropy on the held-out batch, which leaves no trace in buffers."""
        weights = leaves({name: after[name] for name in self.weights})
        outputs = outputs_of(FeatureExtractor(self.student.model), held_out.inputs, parts=held_out.parts)
        slopes = gradient(F.cross_entropy(outputs(weights)[LOGITS_KEY], held_out.labels), weights)
        return dict(over_process_group()(slopes))


def to_full_precision(value: Tensor) -> Tensor:
    return value if value.dtype == torch.float64 else value.float()


def weighted(base: Float[Tensor, ""], losses: Float[Tensor, " pathways"], strengths: Tensor) -> Float[Tensor, ""]:
    return to_full_precision(base) + (strengths * losses).sum()
