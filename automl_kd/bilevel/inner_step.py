"""One step of the inner optimizer as a pure function, and how its result leans on the gradient it was given.

The formulas are those that torch.optim and torch.nn.utils.clip_grad_norm_ carry out, written without in-place
operations, so that they can be differentiated. A weight without a gradient stays where it is, weight decay included, as
in torch.optim.

Diederik Kingma, Jimmy Ba. Adam: A Method for Stochastic Optimization. 2014. arXiv:1412.6980, algorithm 1.
Ilya Loshchilov, Frank Hutter. Decoupled Weight Decay Regularization. 2017. arXiv:1711.05101, algorithm 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

CLIP_MARGIN = 1e-6
"""What clip_grad_norm_ adds to the norm before it divides by it."""

OptimizerMemory = Mapping[str, Tensor]
"""What an optimizer remembers of one weight between steps, under torch.optim's names."""


@runtime_checkable
class Rule(Protocol):
    """How one weight moves, and what is remembered of it; empty memory before its first step. Changes no argument."""

    def __call__(self, weight: Tensor, gradient: Tensor, memory: OptimizerMemory) -> tuple[Tensor, OptimizerMemory]: ...


@dataclass(frozen=True, kw_only=True)
class SGD:
    """torch.optim.SGD. The first step fills the momentum buffer with the gradient, undampened."""

    lr: float | Tensor
    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __call__(self, weight: Tensor, gradient: Tensor, memory: OptimizerMemory) -> tuple[Tensor, OptimizerMemory]:
        decayed = gradient + self.weight_decay * weight
        if not self.momentum:
            return weight - self.lr * decayed, {}
        old = memory.get("momentum_buffer")
        buffer = decayed if old is None else self.momentum * old + (1 - self.dampening) * decayed
        update = decayed + self.momentum * buffer if self.nesterov else buffer
        return weight - self.lr * update, {"momentum_buffer": buffer}


@dataclass(frozen=True, kw_only=True)
class Adam:
    """torch.optim.Adam, or AdamW if the weight decay is `decoupled` from the gradient."""

    lr: float | Tensor
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    decoupled: bool = False

    def __call__(self, weight: Tensor, gradient: Tensor, memory: OptimizerMemory) -> tuple[Tensor, OptimizerMemory]:
        first, second = self.betas
        decayed = gradient if self.decoupled else gradient + self.weight_decay * weight
        shrunk = weight * (1 - self.lr * self.weight_decay) if self.decoupled else weight
        zero = torch.zeros_like(weight)
        mean = first * memory.get("exp_avg", zero) + (1 - first) * decayed
        square = second * memory.get("exp_avg_sq", zero) + (1 - second) * decayed**2
        # A tensor, because fused optimizers count on the device; float64, because float32 powers are off by 1e-7.
        step = memory.get("step", torch.zeros((), dtype=torch.float64)) + 1
        root = safe_sqrt(square) / (1 - second**step).sqrt()
        update = mean / (1 - first**step) / (root + self.eps)
        return shrunk - self.lr * update, {"exp_avg": mean, "exp_avg_sq": square, "step": step}


def safe_sqrt(square: Tensor) -> Tensor:
    """The root, with slope 0 at 0: there the update is gradient / eps, whose slope does not come from the root."""
    positive = square > 0
    return torch.where(positive, square, 1.0).sqrt() * positive


@dataclass(frozen=True, kw_only=True, eq=False)
class InnerStep:
    """One step of an optimizer: a rule for each weight, what is remembered of each, and clipping before it.

    `clip_norm`: the norm above which all gradients together are scaled down; 0 does not clip. It is taken over the
    weights named in `rules` alone, so whatever else is trained beside them (loss modules) must be clipped by itself.
    """

    rules: Mapping[str, Rule]
    memories: Mapping[str, OptimizerMemory] = field(default_factory=dict)
    clip_norm: float = 0.0

    @staticmethod
    def same(rule: Rule, weights: Mapping[str, Tensor], clip_norm: float = 0.0) -> InnerStep:
        """The first step of an optimizer that has one rule for all `weights`."""
        return InnerStep(rules=dict.fromkeys(weights, rule), clip_norm=clip_norm)

    def take(
        self, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], InnerStep]:
        """The weights after the step, differentiable by weights and gradients, and the step that follows."""
        after, memories = dict(weights), dict(self.memories)
        for name, slope in self.clipped(gradients).items():
            memory = self.memories.get(name, {})
            after[name], memories[name] = self.rules[name](weights[name], slope, memory)
        return after, replace(self, memories=memories)

    def clipped(self, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if not self.clip_norm or not gradients:
            return dict(gradients)
        norms = [torch.linalg.vector_norm(slope) for slope in gradients.values()]
        scale = self.clip_norm / (torch.linalg.vector_norm(torch.stack(norms)) + CLIP_MARGIN)
        return {name: slope * scale.clamp(max=1.0) for name, slope in gradients.items()}

    def direction(
        self, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor], v: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """The direction u = D v, where D is minus the transpose of d(weights after) / d gradients.

        `gradients` as they were before clipping. D is eta for plain SGD and with momentum, eta (1 + mu) with Nesterov,
        diagonal for Adam; clipping applies a scaled projection to what these make of v. Here it comes from
        differentiating `take`, so it cannot differ from it. Costs a few operations per weight.
        """
        inputs = {name: slope.detach().requires_grad_() for name, slope in gradients.items()}
        held = {name: value.detach() for name, value in weights.items()}
        after, _ = self.take(held, inputs)
        names = [name for name in inputs if name in v]
        if not names:
            return {}
        # allow_unused: without clipping, a gradient moves its own weight only.
        found = torch.autograd.grad(
            [after[name] for name in names], list(inputs.values()), [-v[name] for name in names], allow_unused=True
        )
        return {name: u for name, u in zip(inputs, found, strict=True) if u is not None}
