"""Batch normalisation over the whole batch of a process group, or over each of equal parts of a batch.

By default a process group normalises by the statistics of the whole batch, so that it computes what one process would.
Parts of a batch that are normalised each by itself save these messages and compute something else, in one process as in
many (Elad Hoffer, Itay Hubara, Daniel Soudry. Train longer, generalize better. 2017. arXiv:1705.08741, section 4; but
the running statistics follow the mean of the parts').

torch's SyncBatchNorm is for GPUs only and cannot be differentiated forwards or twice, as hypergradients are.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from automl_kd import distributed


class SyncNorm(_BatchNorm):
    """`pieces`: into how many parts a batch is cut, each normalised by itself; 1 for the whole batch."""

    pieces: int

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        self._check_input_dim(x)  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        exact = x.float() if x.dtype in {torch.float16, torch.bfloat16} else x
        # A process's part is one piece already. What cannot be cut evenly is normalised whole.
        evenly = distributed.divides(len(x) * distributed.shard_count(), self.pieces)
        pieces = exact.chunk(self.pieces // distributed.shard_count() if evenly and self.pieces > 1 else 1)
        of_one = group_statistics if self.pieces == 1 else statistics
        found = [of_one(piece) for piece in pieces]
        count = pieces[0].numel() // x.shape[1] * (distributed.shard_count() if self.pieces == 1 else 1)
        self.remember(torch.stack([torch.stack(one).detach() for one in found]).mean(0), count)
        done = [self.normal(piece, *one) for piece, one in zip(pieces, found, strict=True)]
        return (torch.cat(done) if len(done) > 1 else done[0]).to(x.dtype)

    def normal(self, x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        shape = (1, -1, *[1] * (x.ndim - 2))
        scale = torch.rsqrt(variance + self.eps)
        scale = scale if self.weight is None else scale * self.weight
        centred = (x - mean.view(shape)) * scale.view(shape)
        return centred if self.bias is None else centred + self.bias.view(shape)

    @torch.no_grad()
    def remember(self, found: Tensor, count: int) -> None:
        """Let the running statistics follow what was `found` (2, channels) over `count` values of each channel."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1 / self.num_batches_tracked.to(found)
        self.running_mean.lerp_(found[0], share)
        # As torch.nn.BatchNorm2d does: of the population, estimated without bias.
        self.running_var.lerp_(found[1] * (count / (count - 1)), share)


def statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel (channels,), over the images of this process."""
    variance, mean = torch.var_mean(x, [0, *range(2, x.ndim)], correction=0)
    return mean, variance


def group_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel (channels,), over the process group's images, in shards of equal size."""
    means, variances = distributed.gather_shards(torch.stack(statistics(x))[None]).unbind(1)
    mean = means.mean(0)
    # Not the difference of mean squares, which would lose the digits of a large mean.
    return mean, (variances + (means - mean).square()).mean(0)


class SyncNorm1d(SyncNorm, nn.BatchNorm1d):
    """In the place of a BatchNorm1d."""


class SyncNorm2d(SyncNorm, nn.BatchNorm2d):
    """In the place of a BatchNorm2d."""


class SyncNorm3d(SyncNorm, nn.BatchNorm3d):
    """In the place of a BatchNorm3d."""


SYNC_NORMS: Mapping[type[nn.Module], type[SyncNorm]] = {
    nn.BatchNorm1d: SyncNorm1d,
    nn.BatchNorm2d: SyncNorm2d,
    nn.BatchNorm3d: SyncNorm3d,
}


def share_norms(model: nn.Module, pieces: int) -> None:
    """Let the batch normalisation in `model` look at the whole batch, or at each of `pieces` > 1 parts of it.

    In place: the layers keep their names, weights and hooks. Nothing changes in a process alone with one piece.
    """
    if distributed.size() == pieces == 1:
        return
    for module in model.modules():
        if type(module) in SYNC_NORMS:
            module.__class__ = SYNC_NORMS[type(module)]
        if isinstance(module, SyncNorm):
            module.pieces = pieces
