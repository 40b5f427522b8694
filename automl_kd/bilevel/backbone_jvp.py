"""Backbone JVP with captured gradients: the hypergradient of pathway weights from one forward pass of the student.

The bilevel problem is that of Deng, Sun, Newsam, Wang. DistPro: Searching A Fast Knowledge Distillation Process via
Meta Optimization. 2022. arXiv:2204.05547. The released code takes a finite difference; this derivation is the
project's own. The inner loss is base + sum of w_i l_i, and pathway i sees the student only through outputs F. Then

    h_i = - < u, d l_i / d weights >  =  - < J u, G_i >,      G_i = d l_i / d F

J u, the derivative of the outputs along u, comes from one pass of the bare student in dual numbers, without connectors,
distances or teacher. G_i costs nothing: the ordinary training backward already computes w_i G_i, and a hook on each
pathway's own alias of the outputs keeps it. Exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from automl_kd.bilevel.base import (
    Problem,
    Reduce,
    Tensors,
    average_of_one_process,
    detach_tensors,
    leaves,
    pullback,
    subtract_gradients,
)
from automl_kd.bilevel.look_ahead import inner_gradient, look_ahead
from automl_kd.bilevel.tangents import Tangents, forward_mode
from automl_kd.errors import ConfigError


@dataclass(frozen=True)
class Captured:
    """What each pathway's loss sends back to the student's outputs, filled by the backward pass: w_i G_i by name.

    Holds one tensor of an output's size for each pathway and output it uses.
    """

    gradients: dict[int, dict[str, Tensor]] = field(default_factory=dict)

    def aliases(self, pathway: int, outputs: Tensors) -> dict[str, Tensor]:
        """The outputs under names of their own, for this pathway's loss and no other."""
        self.gradients[pathway] = {}
        return {name: self.alias(pathway, name, value) for name, value in outputs.items()}

    def alias(self, pathway: int, name: str, value: Tensor) -> Tensor:
        if not value.requires_grad:
            return value

        def keep(slope: Tensor) -> None:
            self.gradients[pathway][name] = slope

        alias = value.view_as(value)
        alias.register_hook(keep)  # type: ignore[no-untyped-call]  # torch does not annotate it
        return alias


def pathway_gradient(
    captured: Captured, tangents: Tensors, strengths: Float[Tensor, " pathways"], scale: float | Float[Tensor, ""] = 1.0
) -> Float[Tensor, " pathways"]:
    """The hypergradient h by the pathway weights w, given as `strengths`: minus each loss's growth along u.

    `scale`: by what the loss was multiplied before the backward pass, as a gradient scaler does. 0 for pathways that
    were not run, and for those whose weight is 0, of which no gradient was captured. With accumulated micro-batches,
    whose losses are divided by their number, the answers of all are added. Half-precision gradients are raised to the
    tangents' precision.
    """
    slopes = [slope(captured.gradients.get(i, {}), tangents, strengths) for i in range(len(strengths))]
    off = strengths == 0
    return torch.where(off, 0.0, -torch.stack(slopes) / torch.where(off, 1.0, strengths * scale))


def slope(gradients: Tensors, tangents: Tensors, like: Tensor) -> Float[Tensor, ""]:
    parts = [
        (tangents[name] * value.to(tangents[name].dtype)).sum() for name, value in gradients.items() if name in tangents
    ]
    return torch.stack(parts).sum() if parts else like.new_zeros(())


@dataclass(frozen=True)
class Pathways:
    """An inner loss that is linear in the weights of its pathways: base + sum of w_i l_i.

    `base` and `losses` map outputs to scalars; connectors and the teacher are closed over. `strengths` maps the
    hyper-parameters to the vector w, one number for each of `losses`, and may be any differentiable function.
    """

    base: Callable[[Tensors], Tensor]
    losses: Sequence[Callable[[Tensors], Tensor]]
    strengths: Callable[[Tensors], Tensor]

    def __call__(self, outputs: Tensors, hypers: Tensors) -> Float[Tensor, ""]:
        return self.weighted(outputs, self.strengths(hypers), Captured())

    def weighted(
        self, outputs: Tensors, strengths: Float[Tensor, " pathways"], captured: Captured
    ) -> Float[Tensor, ""]:
        """The loss with these weights; its backward pass fills `captured`."""
        terms = torch.stack([loss(captured.aliases(i, outputs)) for i, loss in enumerate(self.losses)])
        return self.base(outputs) + (strengths * terms).sum()


@dataclass(frozen=True)
class BackboneJVP:
    """One dual pass of the student, for weights that enter the inner loss linearly, which must be `Pathways`.

    A pathway of weight 0 gets 0, whatever its true value: nothing of it is captured.
    """

    tangents: Tangents = forward_mode

    def __call__(
        self, problem: Problem, weights: Tensors, hypers: Tensors, reduce: Reduce = average_of_one_process
    ) -> dict[str, Tensor]:
        if not isinstance(problem.loss, Pathways):
            raise ConfigError(
                f"the backbone JVP got an inner loss of type {type(problem.loss).__name__}, wanted is Pathways, whose "
                "weights enter linearly; give it one, or take output_backward"
            )
        inputs, captured = leaves(weights), Captured()
        hyper_leaves = leaves(hypers)
        strengths = problem.loss.strengths(hyper_leaves)
        value = problem.loss.weighted(problem.outputs(inputs), strengths.detach(), captured)
        u, direct = look_ahead(problem, weights, hypers, reduce(inner_gradient(value, inputs)), reduce)
        _, tangents = self.tangents(problem.outputs, detach_tensors(weights), u)
        h = pathway_gradient(captured, tangents, strengths.detach())
        through = pullback({"w": strengths}, hyper_leaves, {"w": -h})
        return dict(reduce(subtract_gradients(hypers, direct, through)))
