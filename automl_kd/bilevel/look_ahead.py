"""One step ahead: the direction along which an inner loss counts if the outer loss is evaluated after the next step."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from automl_kd.bilevel.base import Problem, Reduce, Tensors, detach_tensors, gradient, outer_gradients
from automl_kd.errors import ConfigError


def look_ahead(
    problem: Problem, weights: Tensors, hypers: Tensors, gradients: Tensors, reduce: Reduce
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The direction u = D v with v taken after the step, and the outer loss's direct dependence on `hypers`.

    `gradients`: of the inner loss by the weights, averaged over the processes, before clipping.
    """
    after, _ = problem.step.take(detach_tensors(weights), detach_tensors(gradients))
    v, direct = outer_gradients(problem, after, hypers)
    return problem.step.direction(weights, gradients, reduce(v)), direct


def inner_gradient(value: Float[Tensor, ""], weights: Tensors, *, create_graph: bool = False) -> dict[str, Tensor]:
    """The inner loss's gradient by the weights; `ConfigError` if it depends on none of them."""
    slopes = gradient(value, weights, create_graph=create_graph)
    if not slopes:
        raise ConfigError(
            "the inner loss depends on none of the weights that it was given; compute it from the weights' argument "
            "rather than from the network's own parameters"
        )
    return slopes
