"""SWAP: an untrained network is promising if its units answer a batch of images in many different ways.

Peng, Song, Fayek, Ciesielski, Chang. SWAP-NAS: Sample-Wise Activation Patterns for Ultra-fast NAS. 2024.
arXiv:2403.04161. Where NASWOT compares images by the units that are on, SWAP looks at the same table from
the other side: the pattern of a unit is the set of images for which it is on, and the score is the number of distinct
patterns. The regularised score multiplies it by exp(-(params - mu)^2 / sigma), params in thousands.

As in the released code, weights are drawn from N(0, 1) and patterns are over 16 images; with more, nearly every unit
has a pattern of its own and the score counts units. Here these are the first 16 of the batch, normalised with the
statistics of all, and one draw of the weights instead of the mean over 32. The paper leaves mu and sigma to the user,
as the size that is wanted and how much it matters. Ours are 1,500 and its square: the largest networks of
NAS-Bench-201 have 1,532 thousand parameters, and the factor then grows from 1/e for an empty network to 1. We return
the logarithm of the product, which gives the same ranks and does not underflow where sigma is small.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float, Int, Int8
from torch import Tensor

from automl_kd.proxies.activations.rectified import active_units, at_least_one, once_each
from automl_kd.proxies.base import Shared
from automl_kd.proxies.passes import Passes

SAMPLES = 16


def patterns(units: Int8[Tensor, "batch units"]) -> Int[Tensor, " units"]:
    """Each unit's images as a number: bit i is set if it is on for image i. At most 24 images."""
    bits = 2.0 ** torch.arange(len(units), device=units.device)
    return (bits @ units.float()).int()  # exact: integers below 2^24


def swap(passes: Passes, name: str = "swap") -> Tensor:
    """The number of distinct patterns over the first 16 images, in 1 .. 65,536.

    Raises `ConfigError` if no rectifier module runs.
    """
    relus = at_least_one(passes.forward.relus, name)
    return passes.once("distinct patterns", lambda: count_distinct_patterns(relus, passes.probe.images.device))


def count_distinct_patterns(relus: Sequence[Tensor], device: torch.device) -> Tensor:
    maps = [one[:SAMPLES] for one in once_each(relus)[0]]
    seen = torch.zeros(2**SAMPLES, device=device)
    for units in active_units(maps, "swap"):
        seen.index_fill_(0, patterns(units).long(), 1)
    return seen.sum()


def log_regulariser(params: float, mu: float, sigma: float) -> float:
    """-(params - mu)^2 / sigma, all in thousands."""
    return -((params - mu) ** 2) / sigma


def swap_regularised(passes: Passes, mu: float = 1500.0, sigma: float = 1500.0**2) -> Float[Tensor, ""]:
    """log(swap) - (params - mu)^2 / sigma. `mu`: the wanted number of parameters, in thousands; `sigma` above 0.

    The parameters are those of the student as it is measured, which has none on edges that carry nothing.
    """
    params = sum(one.numel() for one in passes.student.parameters()) / 1000
    return swap(passes, "swap_regularised").log() + log_regulariser(params, mu, sigma)


def regularised(mu: float, sigma: float) -> Shared:
    """The proxy for students of about `mu` thousand parameters."""
    if sigma <= 0:
        raise ValueError(f"sigma must be above 0, got {sigma}")
    return Shared(partial(swap_regularised, mu=mu, sigma=sigma), sees=("relus",))


SWAP = Shared(swap, sees=("relus",))
SWAP_REGULARISED = Shared(swap_regularised, sees=("relus",))
