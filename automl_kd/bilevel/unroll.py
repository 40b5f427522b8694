"""Unrolling: carry out the inner steps keeping the graph, and differentiate the outer loss through them.

Dougal Maclaurin, David Duvenaud, Ryan Adams. Gradient-based Hyperparameter Optimization through Reversible Learning.
2015. arXiv:1502.03492, section 2, with the graph kept in memory; one step of it is the exact form of Liu, Simonyan,
Yang. DARTS: Differentiable Architecture Search. 2018. arXiv:1806.09055, eq. 7.

Exact for any problem and optimizer, and the reference for the other members. Needs second derivatives of every layer,
and memory for the graph of each step's gradient. A custom autograd function marked `once_differentiable` drops out of
the answer, and torch gives no error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from automl_kd.bilevel.base import (
    Problem,
    Reduce,
    Tensors,
    average_of_one_process,
    gradient,
    leaves,
    subtract_gradients,
)
from automl_kd.bilevel.distributed import differentiable_average
from automl_kd.bilevel.look_ahead import inner_gradient
from automl_kd.models.costs.composed import without_fused_attention
from automl_kd.spec import require


def unrolled(
    problems: Sequence[Problem], weights: Tensors, hypers: Tensors, reduce: Reduce = average_of_one_process
) -> dict[str, Tensor]:
    """The gradient of the last problem's outer loss through one inner step on each problem in turn.

    The problems may differ in their batches; the first one's step begins and is carried on. In a data-parallel run each
    inner gradient is averaged, and so is what flows back through it.
    """
    weights, hypers, step = leaves(weights), leaves(hypers), problems[0].step
    with without_fused_attention():  # fused attention has no second derivative
        for problem in problems:
            slopes = inner_gradient(problem.inner(weights, hypers), weights, create_graph=True)
            weights, step = step.take(weights, differentiable_average(slopes, reduce))
        slopes = gradient(problems[-1].outer(weights, hypers), hypers)
    return dict(reduce(subtract_gradients(hypers, slopes, {})))


@dataclass(frozen=True)
class Unroll:
    """Double backward through `steps` >= 1 inner steps on one batch. Maclaurin et al. 2015, arXiv:1502.03492."""

    steps: int = 1

    def __post_init__(self) -> None:
        require(self.steps >= 1, f"steps must be 1 or more, got {self.steps}")

    def __call__(
        self, problem: Problem, weights: Tensors, hypers: Tensors, reduce: Reduce = average_of_one_process
    ) -> dict[str, Tensor]:
        return unrolled([problem] * self.steps, weights, hypers, reduce)
