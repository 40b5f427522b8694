"""One vector of a text's tokens."""

from __future__ import annotations

from torch import Tensor


def mean_of_tokens(states: Tensor, there: Tensor) -> Tensor:
    """(batch, channels): of (batch, tokens, channels) the mean over those that are `there`, bool (batch, tokens)."""
    weights = there.to(states.dtype)[:, :, None]
    return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
