"""The condition number of the neural tangent kernel: how unevenly the directions of function space would be learnt.

Chen, Gong, Wang. Neural Architecture Search on ImageNet in Four GPU Hours: A Theoretically Inspired Perspective. 2021.
arXiv:2102.11535 (TE-NAS), section 3.1.1. As in the code released with it, the kernel is that of the sum of an image's
logits, with respect to all weights and no biases, batch normalisation in training mode: entry (i, j) is the inner
product of the gradients for images i and j. The released code redraws weights by Kaiming's rule; behind a batch
normalisation their scale plays no part, and here they are left as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from automl_kd.proxies.base import Shared
from automl_kd.proxies.passes import Passes

KERNEL_IMAGES = 16
"""How many of the batch are taken at most: the cost grows with their square."""

SMALLEST_EIGENVALUE = torch.finfo(torch.float32).eps
"""Smallest eigenvalue, relative to the largest, that float32 gradients can separate from zero."""


def ntk_condition(passes: Passes) -> Tensor:
    """-log(largest / smallest eigenvalue) of the kernel of the first `KERNEL_IMAGES` images; at most 0.

    The logarithm ranks as the number does. Ratios beyond 1/eps of float32 count as that. Minus infinity if no logit
    depends on a weight.
    """
    values = torch.linalg.eigvalsh(kernel(passes.student, passes.probe.images[:KERNEL_IMAGES]))
    ratio = values[0] / values[-1]
    return torch.where(values[-1] > 0, ratio.clamp_min(SMALLEST_EIGENVALUE), 0).log()


def kernel(student: nn.Module, images: Tensor) -> Tensor:
    """(images, images), float64: inner products of d(sum of logits of an image)/d(weights)."""
    weights = [one for name, one in student.named_parameters() if name.endswith("weight")]
    with torch.enable_grad():
        logits: Tensor = student(images)
    # Batch statistics tie the images together: image i's gradient takes a backward pass of the whole batch.
    chosen = torch.eye(len(images), dtype=logits.dtype, device=logits.device)[..., None].expand(-1, *logits.shape)
    rows = [torch.autograd.grad(logits, weights, one, retain_graph=True, allow_unused=True) for one in chosen]
    gram = images.new_zeros((len(images), len(images)), dtype=torch.float64)
    for column in zip(*rows, strict=True):
        gradients = [one for one in column if one is not None]
        if gradients:
            flat = torch.stack(gradients).flatten(1)
            gram += flat @ flat.T
    return gram


NTK_CONDITION = Shared(ntk_condition)
