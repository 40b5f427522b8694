"""Finite differences: the gradient by the hyper-parameters at weights moved along u, ahead and behind.

Hanxiao Liu, Karen Simonyan, Yiming Yang. DARTS: Differentiable Architecture Search. 2018. arXiv:1806.09055, eq. 8,
where the direction is v; ours is u = D v, which carries the optimizer's learning rate, momentum and scaling.

Works with whatever can be run forward, without any second derivative. The error is of the second order in the radius
from both sides and of the first from one side, until rounding takes over; in half precision no radius is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from automl_kd.bilevel.base import (
    Problem,
    Reduce,
    Tensors,
    average_of_one_process,
    detach_tensors,
    gradient,
    leaves,
    move_along,
    subtract_gradients,
)
from automl_kd.bilevel.look_ahead import inner_gradient, look_ahead
from automl_kd.bilevel.tangents import radius_along
from automl_kd.spec import require


@dataclass(frozen=True)
class FiniteDifference:
    """Differences of the hyper-parameters' gradients along u. Liu et al. 2018, arXiv:1806.09055, eq. 8.

    `sides`: "central" or "one". `radius` > 0: the distance of the perturbed weights from the weights.
    """

    sides: Literal["central", "one"] = "central"
    radius: float = 1e-3

    def __post_init__(self) -> None:
        require(self.sides in ("central", "one"), f"sides must be 'central' or 'one', got {self.sides!r}")
        require(self.radius > 0, f"radius must be above 0, got {self.radius}")

    def __call__(
        self, problem: Problem, weights: Tensors, hypers: Tensors, reduce: Reduce = average_of_one_process
    ) -> dict[str, Tensor]:
        inputs = leaves(weights)
        slopes = reduce(inner_gradient(problem.inner(inputs, detach_tensors(hypers)), inputs))
        u, direct = look_ahead(problem, weights, hypers, slopes, reduce)
        scale = radius_along(u, self.radius)
        back = -scale if self.sides == "central" else 0 * scale
        ahead, behind = (
            hyper_gradient_at(problem, move_along(detach_tensors(weights), u, length), hypers)
            for length in (scale, back)
        )
        indirect = {name: (ahead[name] - behind[name]) / (scale - back) for name in ahead}
        return dict(reduce(subtract_gradients(hypers, direct, indirect)))


def hyper_gradient_at(problem: Problem, weights: Tensors, hypers: Tensors) -> dict[str, Tensor]:
    """The inner loss's gradient by the hyper-parameters at these weights, through which no graph is kept."""
    inputs = leaves(hypers)
    return gradient(problem.inner(weights, inputs), inputs)
