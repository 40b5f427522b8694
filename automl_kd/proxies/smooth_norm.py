"""Batch normalisation for double backward passes: the same values in about half the time.

torch differentiates the backward pass of batch normalisation operation by operation, and a Hessian-vector product of a
network of convolutions then spends most of its time there. The second derivative has a short form, which mostly needs
what the first backward pass has computed anyway. Only maps have gradients here, the layer's own weights have none.

x^ = (x - m) r is a channel's normalised map, w its weight, r its inverse standard deviation, mean(.) that over all but
channels. Backward, of a gradient g: B(g) = w r (g - mean(g) - x^ mean(g x^)). For a gradient v of B(g), that of g is
B(v), as B is symmetric, and that of x

    -r (mean(v x^) B(g) + mean(g x^) B(v)) - w r^2 (mean(v g) - mean(v) mean(g) - mean(g x^) mean(v x^)) x^.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from automl_kd.proxies.passes import NORMS

aten_ops = torch.ops.aten


class SmoothBatchNorm(torch.autograd.Function):
    """w x^ + b, by statistics of the batch; running ones are left alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, epsilon: float) -> Tensor:
        made, mean, inverse = aten_ops.native_batch_norm(x, weight, bias, None, None, True, 0.0, epsilon)
        ctx.save_for_backward(x, weight, mean, inverse)
        ctx.epsilon = epsilon
        return made  # type: ignore[no-any-return]  # torch.ops has no signatures

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return Backward.apply(gradients[0], *ctx.saved_tensors, ctx.epsilon), None, None, None


class Backward(torch.autograd.Function):
    """B(g), which can be differentiated by g and x."""

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, x: Tensor, weight: Tensor | None, mean: Tensor, inverse: Tensor, epsilon: float
    ) -> Tensor:
        product, g_sums, g_x = symmetric(g, x, weight, mean, inverse, epsilon)
        ctx.save_for_backward(g, x, weight, mean, inverse, product, g_sums, g_x)
        ctx.epsilon = epsilon
        return product

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (v,) = gradients
        g, x, weight, m, r, b_g, mean_g, mean_gx = ctx.saved_tensors
        b_v, mean_v, mean_vx = symmetric(v, x, weight, m, r, ctx.epsilon)
        mean_vg = (v * g).mean([0, *range(2, x.ndim)])
        # The factor of x^ = (x - m) r; its r and m are multiplied in, so that x^ itself is never formed.
        factor = -(r**3) * (mean_vg - mean_v * mean_g - mean_gx * mean_vx)
        factor = factor if weight is None else factor * weight
        by_channel = partial(torch.reshape, shape=(1, -1, *[1] * (x.ndim - 2)))
        of_x = b_g * by_channel(-r * mean_vx)
        of_x.addcmul_(b_v, by_channel(-r * mean_gx)).addcmul_(x, by_channel(factor)).sub_(by_channel(factor * m))
        return b_v, of_x, None, None, None, None


def symmetric(
    g: Tensor, x: Tensor, weight: Tensor | None, mean: Tensor, inverse: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """B(g), mean(g) and mean(g x^)."""
    # Asked for the gradients of weight and bias too, the kernel hands out the sums that it needs anyway.
    one = torch.ones_like(mean) if weight is None else weight
    product, g_x, g_sum = aten_ops.native_batch_norm_backward(
        g, x, one, None, None, mean, inverse, True, epsilon, [True, True, True]
    )
    count = x.numel() // x.shape[1]
    return product, g_sum / count, g_x / count


@contextmanager
def twice_differentiable(student: nn.Module) -> Iterator[None]:
    """Batch normalisation in training mode runs as above inside."""
    norms = [module for module in student.modules() if isinstance(module, NORMS) and module.training]
    for norm in norms:
        vars(norm)["forward"] = partial(normalise, norm)
    try:
        yield
    finally:
        for norm in norms:
            del vars(norm)["forward"]


def normalise(norm: nn.BatchNorm1d | nn.BatchNorm2d, x: Tensor) -> Tensor:
    weight, bias = (None if one is None else one.detach() for one in (norm.weight, norm.bias))
    made: Tensor = SmoothBatchNorm.apply(x, weight, bias, norm.eps)
    return made
