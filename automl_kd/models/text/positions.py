"""How long a text may be for a network that has a table of positions."""

from __future__ import annotations

from torch import nn

TABLES = ("positions", "position_embeddings")
"""What networks of ours and of transformers call it. Relative and rotating positions have none."""


def position_limit(network: nn.Module) -> int | None:
    """Tokens of the longest text that `network` takes; None where nothing limits them.

    Tables with a place for padding, as RoBERTa's, count from the place after it.
    """
    tables = [
        module
        for name, module in network.named_modules()
        if isinstance(module, nn.Embedding) and name.rpartition(".")[2] in TABLES
    ]
    limits = [one.num_embeddings - (0 if one.padding_idx is None else one.padding_idx + 1) for one in tables]
    return min(limits, default=None)
