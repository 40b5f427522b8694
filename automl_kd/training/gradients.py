"""Gradients averaged over a process group while the backward pass still runs.

Gradients are collected in buckets, and a full bucket is on its way to the other processes while earlier layers are
still being differentiated (Shen Li and others. PyTorch Distributed: Experiences on Accelerating Data Parallel Training.
2020. arXiv:2006.15704, section 3.2). torch's own wrapper ties that to the network's forward pass, which methods with
steps of their own go around.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from automl_kd import distributed

BUCKET_BYTES = 25 * 2**20


@dataclass(eq=False)
class Bucket:
    """Parameters of one type, those still waited for, and the message under way with what it will change."""

    parameters: list[nn.Parameter] = field(default_factory=list)
    missing: int = 0
    message: Tensor | None = None
    work: Any = None
    gradients: list[Tensor] = field(default_factory=list)

    def send(self) -> None:
        self.gradients = [value.grad for value in self.parameters if value.grad is not None]
        if self.gradients:
            self.message = torch.cat([slope.reshape(-1) for slope in self.gradients])
            self.work = dist.all_reduce(self.message, async_op=True)

    def receive(self) -> None:
        if self.message is None:
            return
        self.work.wait()
        pieces = torch.split(self.message / distributed.size(), [slope.numel() for slope in self.gradients])
        for slope, piece in zip(self.gradients, pieces, strict=True):
            slope.copy_(piece.view(slope.shape))
        self.message, self.work, self.gradients = None, None, []


class GroupGradients:
    """Of `parameters`, which are the same on each process, and get gradients on all of them or on none."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self.buckets: list[Bucket] = []
        self.sent = 0
        self.open = False
        if distributed.size() == 1:
            return
        # The last layers' gradients come first.
        trained = [value for value in reversed(parameters) if value.requires_grad]
        for bucket in fill_buckets(trained):
            self.buckets.append(bucket)
            for parameter in bucket.parameters:
                self.listen(parameter, bucket)

    def backward(self, loss: Tensor, *, last: bool = True, retain_graph: bool = False) -> None:
        """Add the loss's gradients to those that there are; the `last` of a step averages the sums."""
        for bucket in self.buckets:
            bucket.missing = len(bucket.parameters)
        self.sent, self.open = 0, last
        try:
            loss.backward(retain_graph=retain_graph)  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        finally:
            self.open = False
        if last:
            self.send(len(self.buckets))
            for bucket in self.buckets:
                bucket.receive()

    def listen(self, parameter: nn.Parameter, bucket: Bucket) -> None:
        hook: Callable[[Tensor], None] = lambda _: self.arrived(bucket)  # noqa: E731
        parameter.register_post_accumulate_grad_hook(hook)  # type: ignore[no-untyped-call]  # torch leaves it unannotated

    def arrived(self, bucket: Bucket) -> None:
        """One of the bucket's gradients is there. Buckets are sent in their order, the same on each process."""
        if not self.open:
            return
        bucket.missing -= 1
        ready = self.sent
        while ready < len(self.buckets) and self.buckets[ready].missing == 0:
            ready += 1
        self.send(ready)

    def send(self, until: int) -> None:
        for bucket in self.buckets[self.sent : until]:
            bucket.send()
        self.sent = max(self.sent, until)


def fill_buckets(parameters: Iterable[nn.Parameter]) -> list[Bucket]:
    """The parameters in buckets of one type, in their order, each full but the last of its type."""
    buckets: list[Bucket] = []
    current: dict[tuple[torch.dtype, torch.device], tuple[Bucket, int]] = {}
    for parameter in parameters:
        kind = (parameter.dtype, parameter.device)
        bucket, held = current.get(kind, (None, 0))
        if bucket is None or held >= BUCKET_BYTES:
            bucket, held = Bucket(), 0
            buckets.append(bucket)
        bucket.parameters.append(parameter)
        current[kind] = (bucket, held + parameter.numel() * parameter.element_size())
    return buckets
