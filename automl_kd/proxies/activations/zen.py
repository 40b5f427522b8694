"""Zen-score: how strongly an untrained network's last map answers to a small change of its input.

Lin, Wang, Sun, Chen, Sun, Qian, Li, Jin. Zen-NAS: A Zero-Shot NAS for High-Performance Deep Image Recognition. 2021.
arXiv:2102.01063, algorithm 1: log E ||f(x) - f(x + 0.01 e)|| for x, e and all weights from N(0, 1), plus, for every
batch normalisation, log sqrt(mean over channels of the variance that it divides by), which gives back the scale that
it takes away. f is the map before global pooling.

As in the released code, the distance is the sum of absolute values and 16 images are drawn. That code reads the
running variance after two batches, which still holds four fifths of its initial value of 1; we take the variance of
the batch x, as the paper writes. The paper removes residual links from its networks before it scores them. A cell's
shortcuts are part of what is searched, so here every student is scored as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from automl_kd.models.fast_norm import QuickNorm, variance
from automl_kd.proxies.base import Shared
from automl_kd.proxies.hooks import refuse_words, run_with_hooks
from automl_kd.proxies.passes import NORMS, Passes

BATCH, STEP = 16, 0.01


def zen(passes: Passes) -> Tensor:
    """The score for weights as they are; they should be of unit variance. Minus infinity if nothing passes through."""
    refuse_words(passes.student, "zen", "feeds images of noise to convolutions")
    # Both the same tensors for all students of a draw: the part cache remembers what first layers make of them.
    x = passes.probe.once(f"zen {passes.seed}", lambda: draw_perturbed(passes)[0])
    close = passes.probe.once(f"zen {passes.seed}, changed", lambda: x + STEP * draw_perturbed(passes)[1])
    with noting_variances(passes.student) as variances:
        before = last_map(passes.student, x, variances)
    spreads = [one.mean().sqrt() for one in variances]
    change = (last_map(passes.student, close) - before).abs().sum() / BATCH
    return torch.stack([change, *spreads]).log().sum()


def draw_perturbed(passes: Passes) -> Float[Tensor, "two batch channels height width"]:
    shape = passes.probe.shape
    noise = torch.randn(2, BATCH, shape.channels, shape.height, shape.width, generator=passes.generator("zen"))
    # Channels last: a view would keep the other order.
    return noise.to(passes.probe.images).movedim(2, -1).contiguous().movedim(-1, 2)


@contextmanager
def noting_variances(student: nn.Module) -> Iterator[list[Tensor]]:
    """Those of all channels that a batch normalisation divides by, a tensor for each of its runs."""
    found: list[Tensor] = []

    def note(_module: nn.Module, given: tuple[Tensor, ...]) -> None:
        found.append(variance(given[0]))

    norms = [one for one in student.modules() if isinstance(one, NORMS)]
    hooks = [one.register_forward_pre_hook(note) for one in norms if not isinstance(one, QuickNorm)]
    quick = [one for one in norms if isinstance(one, QuickNorm)]
    for one in quick:
        one.noted = found
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
        for one in quick:
            one.noted = None


def last_map(student: nn.Module, images: Tensor, noted: list[Tensor] | None = None) -> Tensor:
    """The map before pooling; `noted` then holds what was noted in the pass that made it."""

    def run() -> None:
        if noted:
            noted.clear()
        student(images)

    with torch.no_grad():
        _, maps, _ = run_with_hooks(student, frozenset(), run)
    return maps["pre_pool"]


ZEN = Shared(zen)
