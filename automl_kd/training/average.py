"""An exponential average of the weights, which is measured and kept in place of them.

Polyak, Juditsky. Acceleration of stochastic approximation by averaging. 1992; the exponential form as in Szegedy et al.
2015, arXiv:1512.00567, section 8. Like TensorFlow's `ExponentialMovingAverage` with `num_updates`, renewal number n,
counted from 0, decays by (1 + n) / (10 + n) at most, so that the weights of the beginning are soon forgotten. Buffers
are not averaged: the averaged weights are measured with the running statistics of the network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """The average of a network's parameters; `decay` in (0, 1), renewed after every `interval` steps."""

    def __init__(self, network: nn.Module, decay: float, interval: int) -> None:
        self.network, self.decay, self.interval = network, decay, interval
        self.names = [name for name, _ in network.named_parameters()]
        self.parameters: list[Tensor] = list(network.parameters())
        self.values = [parameter.detach().clone() for parameter in self.parameters]

    @torch.no_grad()
    def renew(self, step: int) -> None:
        """After optimizer step `step`, counted from 0 over the run. The same in all processes of a group."""
        number, rest = divmod(step + 1, self.interval)
        if rest:
            return
        decay = min(self.decay, number / (9 + number))  # (1 + n) / (10 + n) of n = number - 1
        torch._foreach_lerp_(self.values, self.parameters, 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, the network has the averaged weights; nothing is copied."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    def swap(self) -> None:
        for place, parameter in enumerate(self.parameters):
            parameter.data, self.values[place] = self.values[place], parameter.data

    def state(self) -> dict[str, Tensor]:
        return dict(zip(self.names, self.values, strict=True))

    def restore(self, state: Mapping[str, Tensor]) -> None:
        for name, value in zip(self.names, self.values, strict=True):
            value.copy_(state[name])
