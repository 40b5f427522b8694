"""The condition number of the neural tangent kernel: how unevenly the directions of function space would be learnt.

Chen, Gong, Wang. Neural Architecture Search on ImageNet in Four GPU Hours: A Theoretically Inspired Perspective. 2021.
arXiv:2102.11535 (TE-NAS), section 3.1.1. As in the code released with it, the kernel is that of the sum of an image's
logits, with respect to all weights and no biases, batch normalisation in training mode: entry (i, j) is the inner
product of the gradients for images i and j. The released code redraws weights by Kaiming's rule; behind a batch
normalisation their scale plays no part, and here they are left as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from automl_kd.proxies.base import Shared
from automl_kd.proxies.passes import Passes

KERNEL_IMAGES = 16
"""How many of the batch are taken at most: the cost grows with their square."""

WEIGHT_NAME = re.compile(r"weight(_[ih]h_l\d+(_reverse)?)?$")
"""Of layers, and of recurrent ones."""

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
    weights = [one for name, one in student.named_parameters() if WEIGHT_NAME.search(name)]
    with torch.enable_grad(), rows_in_use(student) as used:
        logits: Tensor = student(images)
    # Batch statistics tie the images together: image i's gradient takes a backward pass of the whole batch.
    chosen = torch.eye(len(images), dtype=logits.dtype, device=logits.device)[..., None].expand(-1, *logits.shape)
    rows = []
    for one in chosen:
        found = torch.autograd.grad(logits, weights, one, retain_graph=True, allow_unused=True)
        rows.append([part_in_use(*pair, used) for pair in zip(weights, found, strict=True)])
    gram = images.new_zeros((len(images), len(images)), dtype=torch.float64)
    for column in zip(*rows, strict=True):
        gradients = [one for one in column if one is not None]
        if gradients:
            flat = torch.stack(gradients).flatten(1)
            gram += flat @ flat.T
    return gram


@contextmanager
def rows_in_use(student: nn.Module) -> Iterator[dict[Tensor, Tensor]]:
    """Which rows of its table each embedding that runs inside looks up; the gradients of all others are zero."""
    used: dict[Tensor, Tensor] = {}

    def note(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        table = module.get_parameter("weight")
        before = [used[table]] if table in used else []
        used[table] = torch.unique(torch.cat([given[0].flatten(), *before]))

    hooks = [one.register_forward_pre_hook(note) for one in student.modules() if isinstance(one, nn.Embedding)]
    try:
        yield used
    finally:
        for hook in hooks:
            hook.remove()


def part_in_use(weight: Tensor, gradient: Tensor | None, used: Mapping[Tensor, Tensor]) -> Tensor | None:
    """A table of words is large and mostly idle, and a kernel holds a gradient for each text."""
    return gradient[used[weight]] if gradient is not None and weight in used else gradient


NTK_CONDITION = Shared(ntk_condition)
