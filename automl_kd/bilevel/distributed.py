"""Averages over the processes of a data-parallel run, plain and differentiable.

Everything in this room is linear in the batch, so a run on shards of a batch gives the hypergradient of the whole if
each process averages the inner gradient, `v` and `h`. Batch normalisation keeps to each process's own shard, unless its
layers are those of `automl_kd.models.sync_norm`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from automl_kd import distributed
from automl_kd.bilevel.base import Reduce, Tensors, average_of_one_process


def all_reduce_mean(tensors: Tensors) -> dict[str, Tensor]:
    """The mean over the default process group, in one message per dtype. The names must agree on all processes.

    The gradients of a network inside DistributedDataParallel are averaged already: call it on those of the bare module.
    """
    mean: dict[str, Tensor] = {}
    for dtype in {value.dtype: None for value in tensors.values()}:
        same = {name: value for name, value in tensors.items() if value.dtype == dtype}
        flat = torch.cat([value.detach().reshape(-1) for value in same.values()])
        dist.all_reduce(flat)
        pieces = torch.split(flat / dist.get_world_size(), [value.numel() for value in same.values()])
        mean |= {name: piece.view_as(value) for (name, value), piece in zip(same.items(), pieces, strict=True)}
    return mean


def over_process_group() -> Reduce:
    """The mean over the processes that train together; `average_of_one_process` where there is one."""
    return all_reduce_mean if distributed.size() > 1 else average_of_one_process


def differentiable_average(tensors: Tensors, reduce: Reduce) -> Tensors:
    """`reduce`, differentiable once: an average hands the average of the cotangents back."""
    if reduce is average_of_one_process:
        return tensors
    return dict(zip(tensors, Averaged.apply(reduce, tuple(tensors), *tensors.values()), strict=True))


class Averaged(torch.autograd.Function):
    """A mean over processes is symmetric, so it is its own transpose."""

    @staticmethod
    def forward(ctx: Any, reduce: Reduce, names: tuple[str, ...], *values: Tensor) -> tuple[Tensor, ...]:
        ctx.reduce, ctx.names = reduce, names
        return tuple(reduce({name: value.detach() for name, value in zip(names, values, strict=True)}).values())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *ctx.reduce(dict(zip(ctx.names, slopes, strict=True))).values()
