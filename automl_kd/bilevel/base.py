"""What a bilevel problem is, what every hypergradient promises, and the few operations on named tensors they share.

Letters, here and in every file of this room: `v` is the gradient of the outer loss with respect to the weights, `u`
the direction along which the inner gradient's dependence on the hyper-parameters counts. All members then compute

    h = d outer / d hypers  -  d/d hypers < d inner / d weights, u >

and differ in `u` (`D v` after one optimizer step, the inverse Hessian times `v` at a minimum) and in how the second
term is found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from automl_kd.bilevel.inner_step import InnerStep

Tensors = Mapping[str, Tensor]

Reduce = Callable[[Tensors], Tensors]
"""Averages named tensors over the processes of a data-parallel run; the same names on each."""


def average_of_one_process(tensors: Tensors) -> Tensors:
    """The average over one process."""
    return tensors


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """Minimise outer(weights, hypers) over hypers, where `step` moves the weights down inner(weights, hypers).

    Batches are closed over. The inner loss may be split where it sees the network: `outputs` maps weights to what the
    loss looks at (logits, feature maps), `loss` the outputs and the hyper-parameters to a scalar. Without `outputs` the
    loss looks at the weights themselves. All functions are pure: they change nothing and draw the same numbers at
    each call, which `automl_kd.bilevel.pure.outputs_of` sees to for a network.
    """

    loss: Callable[[Tensors, Tensors], Tensor]
    outer: Callable[[Tensors, Tensors], Tensor]
    step: InnerStep
    outputs: Callable[[Tensors], Tensors] = average_of_one_process

    def inner(self, weights: Tensors, hypers: Tensors) -> Float[Tensor, ""]:
        return self.loss(self.outputs(weights), hypers)


@runtime_checkable
class HyperGradient(Protocol):
    """The gradient of the outer loss with respect to `hypers`, through the inner training at `weights`.

    The answer has the names and shapes of `hypers`. Nothing that was given is changed: no weight, no `.grad`, no
    buffer, no generator. Nothing waits for the device. `reduce` averages whatever the processes of a data-parallel run
    must agree on: the inner gradient, `v` and the answer.
    """

    def __call__(
        self, problem: Problem, weights: Tensors, hypers: Tensors, reduce: Reduce = average_of_one_process
    ) -> dict[str, Tensor]: ...


def select_prefix(tensors: Tensors, prefix: str) -> dict[str, Tensor]:
    """The tensors whose name begins with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def leaves(tensors: Tensors) -> dict[str, Tensor]:
    """The same values, cut from where they came from and ready to be differentiated by."""
    return {name: value.detach().requires_grad_() for name, value in tensors.items()}


def detach_tensors(tensors: Tensors) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in tensors.items()}


def copies(tensors: Tensors) -> dict[str, Tensor]:
    """The values as they are now, for use after an optimizer has written over them."""
    return {name: value.detach().clone() for name, value in tensors.items()}


def gradient(value: Float[Tensor, ""], inputs: Tensors, *, create_graph: bool = False) -> dict[str, Tensor]:
    """The gradient of `value`, by name; inputs on which it does not depend are left out, not zero."""
    return pullback({"": value}, inputs, {"": torch.ones_like(value)}, create_graph=create_graph)


def pullback(
    values: Tensors, inputs: Tensors, along: Tensors, *, create_graph: bool = False, retain_graph: bool | None = None
) -> dict[str, Tensor]:
    """The gradient of < values, along >, by name; inputs without influence are left out.

    Names that `along` lacks count as 0 there.
    """
    names = [name for name, value in values.items() if name in along and value.requires_grad]
    if not names:
        return {}
    found = torch.autograd.grad(
        [values[name] for name in names],
        list(inputs.values()),
        [along[name] for name in names],
        create_graph=create_graph,
        retain_graph=retain_graph,
        allow_unused=True,
    )
    return {name: slope for name, slope in zip(inputs, found, strict=True) if slope is not None}


def outer_gradients(problem: Problem, weights: Tensors, hypers: Tensors) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """`v` and the direct dependence: the outer loss differentiated by the weights and by the hyper-parameters."""
    weights, hypers = leaves(weights), leaves(hypers)
    value = problem.outer(weights, hypers)
    inputs = {**{f"w/{name}": at for name, at in weights.items()}, **{f"h/{name}": at for name, at in hypers.items()}}
    slopes = gradient(value, inputs)
    return select_prefix(slopes, "w/"), select_prefix(slopes, "h/")


def subtract_gradients(hypers: Tensors, direct: Tensors, indirect: Tensors) -> dict[str, Tensor]:
    """What `direct` has over `indirect` for each of `hypers`, where a name left out counts as 0."""
    return {
        name: direct.get(name, torch.zeros_like(value)) - indirect.get(name, torch.zeros_like(value))
        for name, value in detach_tensors(hypers).items()
    }


def inner_product(one: Tensors, other: Tensors) -> Float[Tensor, ""]:
    """The inner product over the names that both have; they must share at least one."""
    return torch.stack([(value * other[name]).sum() for name, value in one.items() if name in other]).sum()


def move_along(weights: Tensors, direction: Tensors, length: float | Tensor) -> dict[str, Tensor]:
    """The weights plus length * direction, where a name that `direction` lacks stays in place."""
    return {name: value + length * direction[name] if name in direction else value for name, value in weights.items()}
