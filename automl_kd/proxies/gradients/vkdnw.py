"""VKDNW: how evenly a batch informs about the weights of a network, beside how many layers there are.

Tybl, Neumann. Training-free Neural Architecture Search through Variance of Knowledge of Deep Network Weights. 2025.
arXiv:2502.04975, section 2, "single": the number of trainable layers plus the entropy of the nine deciles of the
eigenvalues of the Fisher information matrix, scaled to a sum of 1. The matrix is that of a few weights, one of each of
up to 128 tensors; the class is taken at random from what the network predicts, so no labels are used.

As in the code released with it: weights are redrawn by Kaiming's rule, batch normalisation is in evaluation mode before
any training and so hands on what it gets, the first entry of a tensor stands for it, predictions are mixed with 5 % of
the uniform distribution, and "layers" are parameter tensors, so the entropy only parts networks of equal layers. Unlike
there, tensors are taken evenly over the depth where there are more than 128, not from the front, the images are the
probe's, and 16 of them: their 16 x 9 directions span what 128 weights need. One backward pass for each class takes the
place of a differentiation for each image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from automl_kd.proxies.base import Shared
from automl_kd.proxies.hooks import LAYERS, require_convolutions
from automl_kd.proxies.passes import Passes
from automl_kd.proxies.separate import Ran, by_fresh_statistics, output_gradients, separate

FISHER_IMAGES = 16
TENSORS = 128
UNIFORM = 0.05
"""What part of the predictions is the uniform distribution."""


def vkdnw(passes: Passes) -> Tensor:
    """Number of parameter tensors plus entropy; the latter between 0 and log 9.

    Of parameters that the logits do not depend on the matrix has rows of zeros.
    """
    require_convolutions(passes.student, "vkdnw", "reads gradients by weights of convolutions")
    logits, runs = separate(
        passes.student, passes.probe.images[:FISHER_IMAGES], by_fresh_statistics, kaiming_weights(passes)
    )
    eigenvalues = torch.linalg.eigvalsh(fisher_matrix(jacobian(logits, runs), logits.detach()).double())
    return entropy(eigenvalues) + len(list(passes.student.parameters()))


def entropy(eigenvalues: Float[Tensor, " weights"]) -> Float[Tensor, ""]:
    """-sum q log q of the deciles q, scaled to a sum of 1; 0 if all are 0."""
    steps = torch.arange(1, 10, dtype=eigenvalues.dtype, device=eigenvalues.device) / 10
    deciles = torch.quantile(eigenvalues.clamp_min(0), steps)
    shares = deciles / deciles.sum().clamp_min(torch.finfo(deciles.dtype).tiny)
    entropies: Tensor = torch.special.entr(shares)
    return entropies.sum()


def fisher_matrix(
    rows: Float[Tensor, "images classes weights"], logits: Float[Tensor, "images classes"]
) -> Float[Tensor, "weights weights"]:
    """Mean over images of J' (diag p - p p') J for predictions p: the covariance, under p, of the `rows` of J."""
    p = (logits.softmax(1) * (1 - UNIFORM) + UNIFORM / logits.shape[1])[..., None]
    centred = (rows - (p * rows).sum(1, keepdim=True)) * p.sqrt()
    flat = centred.flatten(0, 1)
    return flat.T @ flat / len(rows)


def jacobian(logits: Tensor, runs: Sequence[Ran]) -> Float[Tensor, "images classes weights"]:
    """Derivatives of the logits by the first entries of the tensors that are taken."""
    tensors = [(run, name) for run in runs for name in ("weight", "bias") if getattr(run.layer, name) is not None]
    places = torch.linspace(0, len(tensors) - 1, min(TENSORS, len(tensors))).round().long().tolist()
    errors = dict(zip(map(id, runs), first_channels(logits, runs), strict=True))
    nothing = torch.zeros_like(logits)
    columns = []
    for run, name in (tensors[place] for place in places):
        error = errors[id(run)]
        columns.append(nothing if error is None else first_derivative(run, name, error))
    return torch.stack(columns, dim=2)


def first_channels(logits: Tensor, runs: Sequence[Ran]) -> Iterator[Float[Tensor, "images classes *positions"] | None]:
    """For each run, the derivatives of all logits by the first channel of its output; None if there are none."""
    classes = torch.eye(logits.shape[1], dtype=logits.dtype, device=logits.device)
    by_class = [
        # Copied, lest a channel keep the memory of a whole map.
        [None if one is None else one[:, 0].clone() for one in output_gradients(logits, errors.expand_as(logits), runs)]
        for errors in classes
    ]
    for found in zip(*by_class, strict=True):
        channels = [one for one in found if one is not None]
        yield torch.stack(channels, dim=1) if channels else None


def first_derivative(
    run: Ran, name: str, error: Float[Tensor, "images classes *positions"]
) -> Float[Tensor, "images classes"]:
    """By the first entry of the layer's weight or bias, given the derivatives by the first channel of its output."""
    if name == "bias":
        return error.flatten(2).sum(2) if error.ndim > 2 else error
    return torch.einsum("nc...,n...->nc", error, first_input(run, error.shape[2:]))


def first_input(run: Ran, positions: torch.Size) -> Tensor:
    """(images, *positions): by what the first weight is multiplied on the way to the first channel."""
    layer, given = run.layer, run.given[:, 0]
    if isinstance(layer, nn.Conv2d):
        assert not isinstance(layer.padding, str)
        high, wide = layer.padding
        down, across = (slice(0, (n - 1) * step + 1, step) for n, step in zip(positions, layer.stride, strict=True))
        return F.pad(given, (wide, wide, high, high))[:, down, across]
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        return given / math.sqrt(1 + layer.eps)
    return given


def kaiming_weights(passes: Passes) -> dict[str, Tensor]:
    """Normal weights of variance 2 / inputs for convolutions and linear layers, and their biases of 0, by name."""
    drawn: dict[str, Tensor] = {}
    for name, module in passes.student.named_modules():
        if isinstance(module, LAYERS):
            weight = module.weight.detach()
            scale = math.sqrt(2 / weight[0].numel())
            values = torch.empty(weight.shape).normal_(generator=passes.generator("vkdnw", name)) * scale
            drawn[f"{name}.weight"] = torch.empty_like(weight).copy_(values).requires_grad_()
            if module.bias is not None:
                drawn[f"{name}.bias"] = torch.zeros_like(module.bias)
    return drawn


VKDNW = Shared(vkdnw)
