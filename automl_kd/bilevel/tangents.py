"""How a network's outputs move when its weights move: exactly by forward-mode differentiation, or by differences.

The exact one runs one pass in dual numbers, at the cost of two to three forward passes and no stored graph. It needs a
forward rule of every operation, so attention is taken apart. Where an operation has none all the same (a custom
autograd function, a recurrent layer's kernel), torch raises an error and a central difference serves instead, with its
error.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
import torch.autograd.forward_ad as fwAD
from torch import Tensor

from automl_kd.bilevel.base import Tensors, detach_tensors, inner_product, move_along
from automl_kd.models.costs.composed import without_fused_attention
from automl_kd.spec import require

Tangents = Callable[[Callable[[Tensors], Tensors], Tensors, Tensors], tuple[dict[str, Tensor], dict[str, Tensor]]]
"""From (outputs, weights, direction) to the outputs at the weights and their derivatives along the direction.

Both without a graph. An output that does not depend on what moves may be missing among the derivatives.
"""


def forward_mode(
    outputs: Callable[[Tensors], Tensors], weights: Tensors, direction: Tensors
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The exact `Tangents`, or those of `CentralDifference` where an operation has no forward rule.

    `direction` may name some of the weights only; the others stay in place.
    """
    try:
        return in_dual_numbers(outputs, weights, direction)
    except NotImplementedError:
        return CentralDifference()(outputs, weights, direction)


def in_dual_numbers(
    outputs: Callable[[Tensors], Tensors], weights: Tensors, direction: Tensors
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The exact `Tangents`; `NotImplementedError` where an operation has no forward rule."""
    load_forward_rules()
    with torch.no_grad(), without_fused_attention(), fwAD.dual_level():
        duals = {
            name: dual(value, direction[name]) if name in direction else value
            for name, value in detach_tensors(weights).items()
        }
        pairs = {
            name: fwAD.unpack_dual(value)  # type: ignore[no-untyped-call]  # torch does not annotate it
            for name, value in outputs(duals).items()
        }
    tangents = {name: pair.tangent for name, pair in pairs.items() if pair.tangent is not None}
    return {name: pair.primal for name, pair in pairs.items()}, tangents


@cache
def load_forward_rules() -> None:
    """The first dual number of a process makes torch compile some rules by a function that torch itself deprecates."""
    with warnings.catch_warnings(), fwAD.dual_level():
        warnings.simplefilter("ignore", FutureWarning)
        dual(torch.zeros(()), torch.zeros(()))


def dual(value: Tensor, tangent: Tensor) -> Tensor:
    made: Tensor = fwAD.make_dual(value, tangent)  # type: ignore[no-untyped-call]  # torch does not annotate it
    return made


@dataclass(frozen=True)
class CentralDifference:
    """`Tangents` from two passes, at weights + R direction and weights - R direction, and one at the weights.

    `radius` > 0 is the distance of the perturbed weights, so R = radius / |direction|. The error falls with the square
    of the radius until rounding takes over.
    """

    radius: float = 1e-3

    def __post_init__(self) -> None:
        require(self.radius > 0, f"radius must be above 0, got {self.radius}")

    @torch.no_grad()
    def __call__(
        self, outputs: Callable[[Tensors], Tensors], weights: Tensors, direction: Tensors
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        scale = radius_along(direction, self.radius)
        ahead, behind = (outputs(move_along(weights, direction, sign * scale)) for sign in (1, -1))
        return dict(outputs(weights)), {name: (ahead[name] - behind[name]) / (2 * scale) for name in ahead}


@dataclass(frozen=True)
class OneSidedDifference:
    """`Tangents` from one pass at weights + R direction and one at the weights; the error falls with the radius.

    `radius` as in `CentralDifference`.
    """

    radius: float = 1e-3

    def __post_init__(self) -> None:
        require(self.radius > 0, f"radius must be above 0, got {self.radius}")

    @torch.no_grad()
    def __call__(
        self, outputs: Callable[[Tensors], Tensors], weights: Tensors, direction: Tensors
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        scale = radius_along(direction, self.radius)
        here, ahead = dict(outputs(weights)), outputs(move_along(weights, direction, scale))
        return here, {name: (ahead[name] - here[name]) / scale for name in here}


def radius_along(direction: Tensors, radius: float) -> Tensor:
    """R = radius / |direction|, finite where the direction vanishes, so that a difference along it is 0."""
    norm = inner_product(direction, direction).sqrt()
    return radius / norm.clamp_min(torch.finfo(norm.dtype).tiny ** 0.5)
