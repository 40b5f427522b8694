"""Conjugate gradients for the inverse Hessian of an implicit problem.

Magnus Hestenes, Eduard Stiefel. Methods of Conjugate Gradients for Solving Linear Systems. 1952. J. Res. Natl. Bur.
Stand. 49(6), section 3. For hypergradients: Fabian Pedregosa. Hyperparameter optimization with approximate gradient.
2016. arXiv:1602.02355; Aravind Rajeswaran, Chelsea Finn, Sham Kakade, Sergey Levine. Meta-Learning with Implicit
Gradients. 2019. arXiv:1909.04630.

A fixed number of iterations, because a stopping rule that looks at the residual would wait for the device.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from automl_kd.bilevel.base import Problem, Reduce, Tensors, average_of_one_process, inner_product, move_along
from automl_kd.bilevel.implicit import Curvature, implicit
from automl_kd.spec import require


def solve(curvature: Curvature, v: Tensors, iterations: int, damping: float = 0.0) -> dict[str, Tensor]:
    """The x with (H + damping I) x = v: exact after as many iterations as H has distinct eigenvalues.

    H must be symmetric and H + damping I positive definite. Once the residual is 0, x stays as it is.
    """
    # x, r, p as in Hestenes and Stiefel's section 3.
    x, r, p = {name: torch.zeros_like(value) for name, value in v.items()}, dict(v), dict(v)
    squared = inner_product(r, r)
    for _ in range(iterations):
        product = move_along(curvature(p), p, damping)
        length = quotient(squared, inner_product(p, product))
        x, r = move_along(x, p, length), move_along(r, product, -length)
        before, squared = squared, inner_product(r, r)
        p = move_along(r, p, quotient(squared, before))
    return x


def quotient(numerator: Tensor, denominator: Tensor) -> Tensor:
    """The quotient, 0 where the denominator is 0."""
    zero = denominator == 0
    return torch.where(zero, 0.0, numerator / torch.where(zero, 1.0, denominator))


@dataclass(frozen=True)
class ConjugateGradient:
    """Implicit differentiation by conjugate gradients. Pedregosa 2016, arXiv:1602.02355.

    `iterations` >= 1, one Hessian-vector product each. `damping` >= 0 is added to the Hessian's diagonal, which makes a
    flat or slightly indefinite one invertible and the answer approximate.
    """

    iterations: int = 20
    damping: float = 0.0

    def __post_init__(self) -> None:
        require(self.iterations >= 1, f"iterations must be 1 or more, got {self.iterations}")
        require(self.damping >= 0, f"damping must be 0 or more, got {self.damping}")

    def __call__(
        self, problem: Problem, weights: Tensors, hypers: Tensors, reduce: Reduce = average_of_one_process
    ) -> dict[str, Tensor]:
        def inverse(curvature: Curvature, v: Tensors) -> dict[str, Tensor]:
            return solve(curvature, v, self.iterations, self.damping)

        return implicit(problem, weights, hypers, inverse, reduce)
