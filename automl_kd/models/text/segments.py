"""Which text of a pair a token is of, as the tokenizers of BERT's family number them."""

from __future__ import annotations

from torch import Tensor


def second_text(tokens: Tensor, separator: int, padding: int) -> Tensor:
    """1 for the tokens after the first separator, up to and with the second one, else 0."""
    separators = (tokens == separator).long()
    return ((separators.cumsum(dim=1) - separators) == 1).long() * (tokens != padding)
