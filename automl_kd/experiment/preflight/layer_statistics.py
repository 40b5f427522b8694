"""What a network's first normalisations tell of its images: they remember the statistics of those of its training.

Mean and variance of each channel on images that are preprocessed as in training agree with the running statistics; of
any other preprocessing they do not, whatever the labels. Measured on EfficientNet-Lite0 and 100 to 200 ImageNet
images, crops of 0.875 and 1, in the worst of its first three normalisations, with the error of sampling in the shift:
with its own preprocessing a shift of up to 0.0097 and a spread of up to 0.16; with colours in reverse order a shift
from 0.021; with a mean of 0.3 in place of 0.5 from 0.21; with another deviation a spread from 1.0. The limits below lie
between, and no other network was measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

WATCHED_NORMS = 3
"""How many normalisations are looked at: later ones see more of what the images show, and less of how."""

MAX_SHIFT = 0.012
"""Largest squared distance of means beyond their sampling error, in units of the variance, averaged over channels."""

MAX_SPREAD = 0.4
"""Largest distance of the logarithms of variances, averaged over channels."""


@dataclass(frozen=True)
class Agreement:
    """Of the images' statistics with those of training, the worst of the layers."""

    shift: float
    spread: float

    @property
    def fits(self) -> bool:
        return self.shift <= MAX_SHIFT and self.spread <= MAX_SPREAD


@dataclass(eq=False)
class Watched:
    """Of one normalisation, the mean and the mean square of each image and channel."""

    norm: nn.BatchNorm2d
    means: list[Tensor] = field(default_factory=list)
    squares: list[Tensor] = field(default_factory=list)

    def hear(self, _module: nn.Module, given: tuple[Tensor, ...]) -> None:
        maps = given[0].detach().double()
        self.means.append(maps.mean((2, 3)))
        self.squares.append(maps.square().mean((2, 3)))

    def agreement(self) -> Agreement:
        assert self.norm.running_mean is not None  # else it is not watched
        assert self.norm.running_var is not None
        means, squares = torch.cat(self.means), torch.cat(self.squares)
        mean, known = means.mean(0), self.norm.running_mean.double()
        variance, known_variance = squares.mean(0) - mean.square(), self.norm.running_var.double()
        alive = known_variance > 1e-6 * known_variance.max()  # a dead channel has no scale
        error = means.var(0) / len(means)
        shift = ((mean - known).square() - error) / (known_variance + self.norm.eps)
        ratio = (variance + self.norm.eps) / (known_variance + self.norm.eps)
        return Agreement(float(shift[alive].mean()), float(ratio[alive].log().abs().mean()))


def first_norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    """The first normalisations with statistics of training; none of a network that has other layers in their place."""
    norms = [one for one in network.modules() if isinstance(one, nn.BatchNorm2d) and one.running_mean is not None]
    return norms[:WATCHED_NORMS]


@contextmanager
def watching_norms(network: nn.Module) -> Iterator[list[Watched]]:
    watched = [Watched(norm) for norm in first_norms(network)]
    handles = [one.norm.register_forward_pre_hook(one.hear) for one in watched]
    try:
        yield watched
    finally:
        for handle in handles:
            handle.remove()


def agreement_of(watched: list[Watched]) -> Agreement | None:
    """Over all layers; None without any."""
    found = [one.agreement() for one in watched if one.means]
    if not found:
        return None
    return Agreement(max(one.shift for one in found), max(one.spread for one in found))
