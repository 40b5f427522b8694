"""The process group: processes that train one student, each on its shard of a batch. Alone, calls do nothing.

The process group is torch's default one, if there is one. What all of them minimise is the mean, over the processes,
of the loss that each computes on its part; as the parts are equal in size, that is the loss of the whole batch. A batch
that cannot be divided evenly is given to every process whole, which comes to the same mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from automl_kd.errors import StopTrial

MIN_GROUP_SIZE = 2
"""Images in a part: one alone has no batch statistics, and no other image to be compared with."""

_undivided = False


def size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if size() > 1 else 0


def is_main_process() -> bool:
    """Whether this process writes and reports for the process group."""
    return rank() == 0


def shard_count() -> int:
    """Into how many parts the batch at hand is divided, of which this process has one."""
    return 1 if _undivided else size()


def shard_index() -> int:
    """The number of the part that this process has; 0 where all work on the same images."""
    return 0 if _undivided else rank()


def divides(count: int, pieces: int) -> bool:
    """Whether so many images make so many parts of equal size, none too small."""
    return count % pieces == 0 and count >= MIN_GROUP_SIZE * pieces


@contextmanager
def whole_batch(is_whole: bool = True) -> Iterator[None]:
    """Inside, all processes work on the same images, or, if not, each on its part."""
    global _undivided  # noqa: PLW0603 - a state of the process, as the process group is
    before, _undivided = _undivided, is_whole
    try:
        yield
    finally:
        _undivided = before


@contextmanager
def shard_rows(rows: Tensor, micro: int = 1) -> Iterator[Tensor]:
    """The part of `rows` (n, ...) that this process has; all of them, as in `whole_batch`, if they cannot be divided.

    `micro`: each of so many consecutive pieces is divided by itself, so that what is accumulated in pieces is the same
    for any number of processes.
    """
    divided = size() > 1 and divides(len(rows), size() * micro)
    with whole_batch(not divided):
        yield rows.view(micro, size(), -1, *rows.shape[1:])[:, rank()].flatten(0, 1) if divided else rows


def own_shard(value: Tensor) -> Tensor:
    """The part of `value`, in which there is all of the batch at hand, that this process has."""
    return value.chunk(shard_count())[shard_index()]


def device() -> torch.device:
    """Where the process group's own messages must lie."""
    return torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")


def sum_over_group(value: Tensor) -> Tensor:
    """The sum over the process group, without gradient."""
    if size() == 1:
        return value
    # A copy in plain order: messages of the process group must have equal memory layouts.
    message = value.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(message)
    return message if value.is_contiguous() else torch.empty_like(value).copy_(message)


def mean_over_group(value: Tensor) -> Tensor:
    """The mean over the process group, without gradient."""
    return value if size() == 1 else sum_over_group(value) / size()


def from_main_process(value: float) -> float:
    """The main process's value; the others wait for it."""
    if size() == 1:
        return value
    message = torch.tensor(value, dtype=torch.float64, device=device())
    dist.broadcast(message, src=0)
    return message.item()


def wait_for_main_process() -> None:
    """Wait for the main process: what it wrote before can be read afterwards."""
    from_main_process(0.0)


def all_equal(value: float) -> bool:
    """Whether all have the same value."""
    return size() == 1 or torch.equal(ends := range_over_group(value), ends.flip(0))


def any_of(flag: bool) -> bool:
    """Whether it is true of any process; all must ask."""
    return flag if size() == 1 else bool(range_over_group(flag)[1])


def range_over_group(value: float) -> Tensor:
    """The least and the largest value in the process group."""
    ends = torch.tensor([-value, value], dtype=torch.float64, device=device())
    dist.all_reduce(ends, op=dist.ReduceOp.MAX)
    return ends * torch.tensor([-1.0, 1.0], dtype=torch.float64, device=ends.device)


def broadcast_from_main(tensors: Iterable[Tensor]) -> None:
    """Put the main process's values into everyone's tensors."""
    if size() == 1:
        return
    with torch.no_grad():
        for value in tensors:
            message = value.detach().clone(memory_format=torch.contiguous_format)
            dist.broadcast(message, src=0)
            value.copy_(message)


def average(tensors: Iterable[Tensor]) -> None:
    """Put the process group's mean into everyone's tensors, those of whole numbers left out."""
    if size() == 1:
        return
    with torch.no_grad():
        for value in tensors:
            if value.is_floating_point():
                value.copy_(mean_over_group(value))


def summed(value: Tensor) -> Tensor:
    """The sum over the process group, differentiable any number of times, forwards and backwards.

    A sum is symmetric, so each process gets back the sum of what all send back.
    """
    if size() == 1:
        return value
    found: Tensor = Summed.apply(value)
    return found


def differentiable_mean(value: Tensor) -> Tensor:
    """The mean over the process group, differentiable as `summed`."""
    return value if size() == 1 else summed(value) / size()


def joined_norm(norm: Tensor) -> Tensor:
    """The length of the vector of which each process has a part of length `norm`, differentiable as `summed`."""
    return norm if size() == 1 else summed(norm.square()).clamp_min(torch.finfo(norm.dtype).tiny).sqrt()


class Summed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:  # noqa: ARG004 - nothing to remember
        return sum_over_group(value)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:  # noqa: ARG004
        return summed(slopes[0])

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:  # noqa: ARG004
        return sum_over_group(tangents[0])


def gather_shards(value: Tensor) -> Tensor:
    """All parts along the first dimension, in the order of the processes; equal in size, and differentiable."""
    if size() == 1:
        return value
    others = torch.zeros_like(value)  # in the same order in memory
    return summed(torch.cat([value if place == rank() else others for place in range(size())]))


def gather_values(value: Tensor) -> list[Tensor]:
    """What every process has, in their order, on the processor; equal in shape."""
    if size() == 1:
        return [value]
    # Copies: torch's generators take no state that lies within a larger tensor.
    return [one.clone() for one in gather_shards(value[None].to(device())).cpu()]


def report_from_main(report: Callable[..., None]) -> Callable[..., None]:
    """`report` by the main process alone. If it raises `StopTrial` there, it does so for all."""
    if size() == 1:
        return report

    def relay(metrics: Mapping[str, float], *, epoch: int) -> None:
        stopped = False
        if is_main_process():
            try:
                report(metrics, epoch=epoch)
            except StopTrial:
                stopped = True
        if from_main_process(stopped):
            raise StopTrial

    return relay
