"""Loss-only double backward: differentiate the loss network twice, and the student not at all.

For learned losses, as in Ran, Huang, Yang. Tailored knowledge distillation with automated loss function learning. 2025.
PLoS ONE 20(6): e0325599. Its equations could not be recovered; this derivation is the project's own. The
hyper-parameters enter the inner loss only behind the network's outputs z, so by the chain rule

    d/d hypers < d inner / d weights, u >  =  d/d hypers < d loss / d z, J u >

where J u is the derivative of the outputs along u. Only the loss is differentiated twice. Exact for any loss.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from automl_kd.bilevel.base import (
    Problem,
    Reduce,
    Tensors,
    average_of_one_process,
    detach_tensors,
    gradient,
    leaves,
    pullback,
    subtract_gradients,
)
from automl_kd.bilevel.look_ahead import inner_gradient, look_ahead
from automl_kd.bilevel.tangents import Tangents, forward_mode


def loss_slope(
    loss: Callable[[Tensors, Tensors], Tensor], outputs: Tensors, tangents: Tensors, hypers: Tensors
) -> dict[str, Tensor]:
    """d/d hypers < d loss / d outputs, tangents >; the hypergradient is minus this.

    `outputs` and `tangents` as `Tangents` give them. Hyper-parameters without influence are left out.
    """
    outputs, hypers = leaves(outputs), leaves(hypers)
    slopes = gradient(loss(outputs, hypers), outputs, create_graph=True)
    return pullback(slopes, hypers, tangents)


@dataclass(frozen=True)
class OutputBackward:
    """Double backward through the loss alone, for losses that are learned; the network's tangents by `tangents`."""

    tangents: Tangents = forward_mode

    def __call__(
        self, problem: Problem, weights: Tensors, hypers: Tensors, reduce: Reduce = average_of_one_process
    ) -> dict[str, Tensor]:
        inputs = leaves(weights)
        slopes = reduce(inner_gradient(problem.inner(inputs, detach_tensors(hypers)), inputs))
        u, direct = look_ahead(problem, weights, hypers, slopes, reduce)
        outputs, tangents = self.tangents(problem.outputs, weights, u)
        return dict(reduce(subtract_gradients(hypers, direct, loss_slope(problem.loss, outputs, tangents, hypers))))
