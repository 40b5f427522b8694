"""The implicit function theorem: the hypergradient where the inner problem is solved.

Where d inner / d weights = 0, moving the hyper-parameters moves the minimum by minus H^-1 times the mixed derivative, H
the inner loss's Hessian by the weights, so the direction is u = H^-1 v. For hyper-parameters: Fabian Pedregosa.
Hyperparameter optimization with approximate gradient. 2016. arXiv:1602.02355.

What remains is to solve H u = v with products of H and vectors. The members of this kind do so, each in its file; the
problem's optimizer step has no part in it. Away from a minimum the answer is that of another problem.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from automl_kd.bilevel.base import Problem, Reduce, Tensors, leaves, outer_gradients, pullback, subtract_gradients
from automl_kd.bilevel.look_ahead import inner_gradient
from automl_kd.models.costs.composed import without_fused_attention

Curvature = Callable[[Tensors], Tensors]
"""The product of the inner Hessian, averaged over the processes, with a vector."""


def implicit(
    problem: Problem,
    weights: Tensors,
    hypers: Tensors,
    solve: Callable[[Curvature, Tensors], Tensors],
    reduce: Reduce,
) -> dict[str, Tensor]:
    """The hypergradient with u = solve(curvature, v). The inner gradient is computed once and kept differentiable."""
    v, direct = outer_gradients(problem, weights, hypers)
    weights, hypers = leaves(weights), leaves(hypers)
    with without_fused_attention():  # fused attention has no second derivative
        slopes = inner_gradient(problem.inner(weights, hypers), weights, create_graph=True)

    def curvature(x: Tensors) -> Tensors:
        product = pullback(slopes, weights, x, retain_graph=True)
        return reduce({name: product.get(name, torch.zeros_like(value)) for name, value in x.items()})

    # Weights that only one of the two losses sees count as well: with v or their gradient 0.
    known = {name: v.get(name, torch.zeros_like(value)).detach() for name, value in weights.items()}
    u = solve(curvature, reduce(known))
    return dict(reduce(subtract_gradients(hypers, direct, pullback(slopes, hypers, u))))
