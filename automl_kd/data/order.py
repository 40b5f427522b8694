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


POOL = 50
"""Batches whose texts are sorted together: enough that they differ little in length, few enough to stay random."""


def bucket_by_length(rows: Tensor, lengths: Tensor, batch_size: int, *, seed: int, epoch: int) -> Tensor:
    """`rows`, in random order, so rearranged that those of a batch are about equally long: int64, on the CPU.

    Pools of `POOL` batches are sorted by length, and the batches of all pools drawn in random order, but for a last one
    that is smaller. Khomenko, Shyshkov, Radyvonenko, Bokhan. Accelerating recurrent neural network training using
    sequence bucketing and multi-GPU data parallelization. 2016. arXiv:1708.05604 has the idea; the pools are ours.
    """
    if not (whole := len(rows) - len(rows) % batch_size):
        return rows
    pools = torch.split(rows[:whole], POOL * batch_size)
    batches = torch.cat([pool[lengths[pool].argsort(stable=True)] for pool in pools]).view(-1, batch_size)
    drawn = torch.argsort(draw_words(key(ORDER_STREAM, seed, epoch, 1), torch.arange(len(batches))), stable=True)
    return torch.cat([batches[drawn].flatten(), rows[whole:]])
