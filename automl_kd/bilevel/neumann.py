"""A truncated Neumann series for the inverse Hessian of an implicit problem.

Jonathan Lorraine, Paul Vicol, David Duvenaud. Optimizing Millions of Hyperparameters by Implicit Differentiation. 2019.
arXiv:1911.02590, algorithm 3. A series of k terms is what unrolling k gradient steps at the minimum gives
(their theorem 2).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from automl_kd.bilevel.base import Problem, Reduce, Tensors, average_of_one_process, move_along
from automl_kd.bilevel.implicit import Curvature, implicit
from automl_kd.spec import require


def series(curvature: Curvature, v: Tensors, terms: int, rate: float) -> dict[str, Tensor]:
    """The first terms of rate * sum over j of (I - rate H)^j v, which tends to H^-1 v.

    Converges if `rate` lies between 0 and 2 / the largest eigenvalue of a positive definite H; the error shrinks with
    each term by the factor max |1 - rate * eigenvalue|.
    """
    power, total = dict(v), dict(v)
    for _ in range(terms - 1):
        power = move_along(power, curvature(power), -rate)
        total = move_along(total, power, 1.0)
    return {name: rate * value for name, value in total.items()}


@dataclass(frozen=True)
class Neumann:
    """Implicit differentiation by a Neumann series. Lorraine et al. 2019, arXiv:1911.02590, algorithm 3.

    `terms` >= 1, one Hessian-vector product for each but the first. `rate` > 0, below 2 / the Hessian's largest
    eigenvalue.
    """

    terms: int = 20
    rate: float = 0.1

    def __post_init__(self) -> None:
        require(self.terms >= 1, f"terms must be 1 or more, got {self.terms}")
        require(self.rate > 0, f"rate must be above 0, got {self.rate}")

    def __call__(
        self, problem: Problem, weights: Tensors, hypers: Tensors, reduce: Reduce = average_of_one_process
    ) -> dict[str, Tensor]:
        def inverse(curvature: Curvature, v: Tensors) -> dict[str, Tensor]:
            return series(curvature, v, self.terms, self.rate)

        return implicit(problem, weights, hypers, inverse, reduce)
