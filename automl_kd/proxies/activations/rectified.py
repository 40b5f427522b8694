"""Which units of an untrained network are on: what the proxies that read activation patterns have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Int8
from torch import Tensor

from automl_kd.errors import ConfigError


def once_each(maps: Sequence[Tensor]) -> tuple[list[Tensor], list[int]]:
    """The maps without repetition, and how often each is among them: rectifiers that run on one map may share theirs.

    Unlike objects are unlike maps, whatever they hold.
    """
    times = Counter(map(id, maps))
    return list({id(one): one for one in maps}.values()), list(times.values())


def at_least_one(maps: Sequence[Tensor], proxy: str) -> Sequence[Tensor]:
    """`maps`, and a `ConfigError` in the name of `proxy` if there are none."""
    if not maps:
        raise ConfigError(
            f"{proxy} found no rectifier module in the student, and needs at least one; write its activations as "
            f"nn.ReLU modules, or leave {proxy} out and choose one of gradients, such as grad_norm or jacob_cov"
        )
    return maps


def active_units(maps: Sequence[Tensor], proxy: str) -> Iterator[Int8[Tensor, "batch _"]]:
    """For each map of `maps`, outputs of rectifiers, 1 for each unit of an image that is above zero, and 0 elsewhere.

    The order of the units is that of memory, which no pattern depends on. Raises as `at_least_one` does.
    """
    for one in at_least_one(maps, proxy):
        # Channels lie last in memory; to flatten them in another order would copy the map.
        flat = (one.movedim(1, -1) if one.ndim > 2 else one).detach().flatten(1)
        # Compared into bytes, which is vectorised; the comparison that makes booleans takes twice as long and more.
        yield torch.gt(flat, 0, out=torch.empty_like(flat, dtype=torch.int8))
