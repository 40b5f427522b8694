"""The order in which an epoch visits the images of a split."""

from __future__ import annotations

import torch
from torch import Tensor

from automl_kd.data.counter import draw_words, key

ORDER_STREAM = 11
"""The first word of its stream's key, apart from those of `views` and of the division."""


def epoch_order(count: int, *, seed: int, epoch: int) -> Tensor:
    """The rows 0 to count - 1 as epoch number `epoch` visits them: int64 (count,), on the CPU, equal everywhere."""
    return torch.argsort(draw_words(key(ORDER_STREAM, seed, epoch), torch.arange(count)), stable=True)
