"""Random numbers that belong to a loss: seeded when it is made, counted as they are used, saved with its state."""

from __future__ import annotations

import torch
from torch import nn

from automl_kd.seeds import derive


class CountedGenerator(nn.Module):
    """A new generator at each call, which depends on `seed` and on how many calls there were, and on nothing else.

    The count is a number of Python, not a tensor, so that asking for it never waits for a device.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed, self.calls = seed, 0

    def forward(self, device: torch.device) -> torch.Generator:
        self.calls += 1
        return torch.Generator(device).manual_seed(derive(self.seed, self.calls))

    def get_extra_state(self) -> dict[str, int]:
        return {"seed": self.seed, "calls": self.calls}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.seed, self.calls = state["seed"], state["calls"]
