"""A pass in which the images of a batch do not see each other, so that one backward pass has all their gradients.

Batch normalisation is what ties the images of a batch together. With another in its place, an image's gradients with
respect to layers' outputs come from one backward pass of the whole batch, and its gradients with respect to weights
from them and the layers' inputs, by formulas that run over all images at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.autograd.graph import GradientEdge, get_gradient_edge

from automl_kd.errors import ConfigError
from automl_kd.proxies.hooks import LAYERS
from automl_kd.proxies.passes import NORMS

NormLayer = nn.BatchNorm1d | nn.BatchNorm2d
Normalise = Callable[[NormLayer, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Ran:
    """A layer that ran: what it was given, and the place of what it made in the graph.

    A place, because the map itself may be written over by an activation, and a gradient would then be of the latter.
    """

    layer: nn.Module
    given: Tensor
    made: GradientEdge


def separate(
    student: nn.Module, images: Tensor, normalise: Normalise, weights: Mapping[str, Tensor] | None = None
) -> tuple[Tensor, list[Ran]]:
    """Logits with their graph, and all runs of convolutions, linear layers and batch normalisations as they came.

    `normalise` takes the place of all batch normalisations, whose statistics are neither used nor updated. `weights`:
    by their names, what to use in place of the student's own.
    """
    runs: list[Ran] = []
    with torch.enable_grad(), normalised_by(student, normalise), record_runs(student, runs):
        logits: Tensor = torch.func.functional_call(student, dict(weights or {}), (images,))
    return logits, runs


def output_gradients(logits: Tensor, errors: Tensor, runs: Sequence[Ran]) -> list[Tensor | None]:
    """d(sum of errors x logits)/d(output) for each run, None where the logits do not depend on it. The graph is kept.

    `errors`: derivatives of whatever is asked about by the logits, of their shape.
    """
    places = [run.made for run in runs]
    return list(torch.autograd.grad(logits, places, errors, retain_graph=True, allow_unused=True))


@contextmanager
def normalised_by(student: nn.Module, normalise: Normalise) -> Iterator[None]:
    norms = [module for module in student.modules() if isinstance(module, NORMS)]
    for module in norms:
        # The instance's own attribute hides the class's method, and costs no run of the latter as a hook would.
        vars(module)["forward"] = partial(normalise, module)
    try:
        yield
    finally:
        for module in norms:
            del vars(module)["forward"]


@contextmanager
def record_runs(student: nn.Module, runs: list[Ran]) -> Iterator[None]:
    def keep(module: nn.Module, given: tuple[Any, ...], made: Tensor) -> None:
        runs.append(Ran(module, given[0].detach(), get_gradient_edge(made)))

    handles = [one.register_forward_hook(keep) for one in student.modules() if isinstance(one, (*LAYERS, *NORMS))]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def by_own_statistics(module: NormLayer, x: Tensor) -> Tensor:
    """What batch normalisation in training mode makes of each image when it is the whole batch.

    Raises `ConfigError` for maps of a single position, which have no variance.
    """
    if x.ndim < 3 or x[0, 0].numel() < 2:
        raise ConfigError(
            f"gradients of single images need maps of two positions or more before batch normalisation, and got "
            f"{tuple(x.shape)}; take larger images or leave this proxy out"
        )
    made: Tensor = Alone.apply(x, module.weight, module.bias, module.eps)
    return made


class Alone(torch.autograd.Function):
    """Normalisation of each image by itself.

    In plain arithmetic: torch's kernel for groups of one channel takes three times as long with channels last.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        numbers = lines(x)
        centred = numbers - of_channels(numbers, len(weight))
        inverse = (of_channels(centred.square(), len(weight)) + eps).rsqrt_()
        factor = inverse * spread_along_lines(weight, centred)
        ctx.save_for_backward(centred, inverse, factor)
        ctx.channels = len(weight)
        made = empty_map(x)  # filled through a view: the result itself must be none, to be written over
        torch.addcmul(spread_along_lines(bias, centred), centred, factor, out=lines(made))
        return made

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        centred, inverse, factor = ctx.saved_tensors
        slope, pixels = lines(gradient), gradient[0, 0].numel()
        agreement = of_channels(slope * centred, ctx.channels) * inverse
        mean = of_channels(slope, ctx.channels)
        by_weight, by_bias = (one[:, 0, : ctx.channels].sum(0) * pixels for one in (agreement, mean))
        back = empty_map(gradient)
        torch.sub(slope, mean, out=lines(back)).addcmul_(centred, -agreement * inverse).mul_(factor)
        return back, by_weight, by_bias, None


def lines(x: Tensor) -> Float[Tensor, "images lines numbers"]:
    """The map's numbers in the order of memory with channels last, a hundred or so in a line where that is possible:
    of several pixels, all channels of each.
    """
    channels, pixels = x.shape[1], x[0, 0].numel()
    return x.movedim(1, -1).reshape(len(x), -1, channels * math.gcd(pixels, max(1, 128 // channels)))


def empty_map(x: Tensor) -> Tensor:
    """A map of the same shape, channels last in memory, with nothing in it yet."""
    strides = torch.empty((len(x), *x.shape[2:], x.shape[1]), device="meta").movedim(-1, 1).stride()
    return torch.empty_strided(x.shape, strides, dtype=x.dtype, device=x.device)


def of_channels(numbers: Tensor, channels: int) -> Float[Tensor, "images 1 numbers"]:
    """In place of each number the mean over the image's numbers of its channel."""
    pixels = numbers.mean(1).view(len(numbers), -1, channels)
    return pixels.mean(1, keepdim=True).expand_as(pixels).reshape(len(numbers), 1, -1)


def spread_along_lines(values: Tensor, numbers: Tensor) -> Tensor:
    """One value for each channel, repeated along a line."""
    return values.repeat(numbers.shape[2] // len(values))


def by_fresh_statistics(module: NormLayer, x: Tensor) -> Tensor:
    """What batch normalisation in evaluation mode does before any training: mean 0 and variance 1 are assumed."""
    width = x.shape[1]
    return F.batch_norm(x, x.new_zeros(width), x.new_ones(width), module.weight, module.bias, eps=module.eps)


def weight_gradients(run: Ran, gradient: Tensor) -> Float[Tensor, "images groups outputs inputs"]:
    """Each image's gradient with respect to the weights of a convolution or linear layer, in the weights' order.

    `gradient`: with respect to the layer's outputs. Linear layers act on the last axis.
    """
    layer, given, count = run.layer, run.given, len(run.given)
    if isinstance(layer, nn.Linear):
        inputs = given.reshape(count, -1, layer.in_features)
        errors = gradient.reshape(count, -1, layer.out_features)
        return torch.einsum("npo,npi->noi", errors, inputs)[:, None]
    assert isinstance(layer, nn.Conv2d)
    # Position by position, a weight's gradient is error times input: a product of matrices, in every group.
    inputs = convolution_windows(layer, given, gradient.shape[2:])
    errors = gradient.permute(0, 2, 3, 1).reshape(count, -1, layer.groups, layer.out_channels // layer.groups)
    return torch.einsum("npgo,npkgi->ngoki", errors, inputs).transpose(3, 4).flatten(3)


def convolution_windows(
    layer: nn.Conv2d, given: Tensor, made: torch.Size
) -> Float[Tensor, "images positions places groups inputs"]:
    """What the convolution sees at each position of the map that it makes, whose height and width are `made`.

    With channels last whole rows of a window lie together, so this copies several times faster than `F.unfold`.
    """
    assert not isinstance(layer.padding, str)
    if layer.kernel_size == layer.stride == (1, 1) and layer.padding == (0, 0):
        return given.permute(0, 2, 3, 1).reshape(len(given), made.numel(), 1, layer.groups, -1)
    (high, wide), (down, right) = layer.kernel_size, layer.stride
    (top, left), (dilated, apart) = layer.padding, layer.dilation
    padded = F.pad(given, (left, left, top, top)).permute(0, 2, 3, 1).contiguous()
    images, row, pixel, _ = padded.stride()
    size = (len(given), *made, high, wide, given.shape[1])
    seen = padded.as_strided(size, (images, down * row, right * pixel, dilated * row, apart * pixel, 1))
    return seen.reshape(len(given), made.numel(), high * wide, layer.groups, -1)
