"""ZiCo: gradients that are large and agree from batch to batch promise fast and steady training.

Li, Yang, Bhardwaj, Marculescu. ZiCo: Zero-shot NAS via Inverse Coefficient of Variation on Gradients. 2023.
arXiv:2301.11300, section 3.3. The paper takes two batches; here they are the two halves of the probe's batch, each in
a forward and a backward pass of its own, so batch normalisation uses statistics of the half. As in the released code,
weights whose gradients do not vary and layers without any other are left out, and variance is that of the two values.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from automl_kd.errors import ConfigError
from automl_kd.proxies.base import Shared
from automl_kd.proxies.passes import Passes, layer_weights

WeightGradients = Sequence[Tensor | None]


def layer_score(one: Tensor, other: Tensor) -> Tensor:
    """Log sum over weights of mean |g| / std g, for the gradients that two batches give; 0 if none of them varies."""
    # Of two values, the standard deviation is half the distance; so the halves cancel.
    distance = (one - other).abs_()
    ratios = ((one.abs() + other.abs()) / distance).masked_fill_(distance == 0, 0)
    total = ratios.sum()
    return torch.where(total > 0, total.log(), 0)


def zico(passes: Passes) -> Tensor:
    """The sum over convolutional, linear and recurrent layers of their scores.

    `ConfigError` for a batch of a single image.
    """
    images, labels = passes.probe.images, passes.probe.labels
    if len(labels) < 2:
        raise ConfigError(
            "zico compares the gradients of two halves of a batch and got one image; score with a batch of at least 2"
        )
    halves = zip(images.tensor_split(2), labels.tensor_split(2), strict=True)
    one, other = (weight_gradients_of(passes, *half) for half in halves)
    pairs = [(g, h) for g, h in zip(one, other, strict=True) if g is not None and h is not None]
    return torch.stack([layer_score(g, h) for g, h in pairs]).sum()


def weight_gradients_of(passes: Passes, images: Tensor, labels: Tensor) -> WeightGradients:
    weights = layer_weights(passes.student)
    with torch.enable_grad():
        loss = F.cross_entropy(passes.student(images), labels)
    return torch.autograd.grad(loss, weights, allow_unused=True)


ZICO = Shared(zico)
