"""Detects divergence: losses, weights, running statistics and reported metrics must be finite.

The loss is computed before a step, so it does not show what the last step of an epoch did.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from automl_kd import distributed
from automl_kd.errors import DivergedError

DIVERGENCE_ADVICE = "lower recipe.lr or set clip_norm"


def refuse_loss(loss: Tensor, epoch: int) -> None:
    """`DivergedError` if the training loss is not finite. Waits for the device."""
    if not math.isfinite(loss.item()):
        raise DivergedError(f"the training loss became {loss.item()} in epoch {epoch}; {DIVERGENCE_ADVICE}")


def refuse_metrics(metrics: Mapping[str, float], epoch: int) -> None:
    """`DivergedError` if one of the numbers is not finite."""
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise DivergedError(f"{name} became {value} in epoch {epoch}; {DIVERGENCE_ADVICE}")


class Sound:
    """The weights and buffers of some networks that are finite at first, and so must stay: all but what is meant to be
    infinite, such as a mask of attention.
    """

    def __init__(self, **networks: nn.Module) -> None:
        self.networks = networks
        self.meant = frozenset(unsound(networks))

    def refuse(self, epoch: int) -> None:
        """`DivergedError` if one of them is finite no longer, on any process. Waits for the device."""
        found = [name for name in unsound(self.networks) if name not in self.meant]
        if distributed.any_of(bool(found)):
            name = found[0] if found else "what another worker trains"
            raise DivergedError(f"{name} is no longer finite after a step of epoch {epoch}; {DIVERGENCE_ADVICE}")


def unsound(networks: Mapping[str, nn.Module]) -> list[str]:
    """The names of tensors with a value that is not finite."""
    named = dict(floating(networks))
    if not named:
        return []
    home = next(iter(named.values())).device
    sound = torch.stack([value.isfinite().all().to(home) for value in named.values()]).tolist()
    return [name for name, finite in zip(named, sound, strict=True) if not finite]


def floating(networks: Mapping[str, nn.Module]) -> Iterator[tuple[str, Tensor]]:
    """Weights and buffers of floating type, each under its network's name and its own."""
    for place, network in networks.items():
        for name, value in (*network.named_parameters(place), *network.named_buffers(place)):
            if value.is_floating_point():
                yield name, value.detach()
