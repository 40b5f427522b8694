"""The student's passes in training as one CUDA graph, where a trial asks for it.

A step of a small student is some hundred kernels of a few microseconds each, so a GPU waits for their launches. torch
records them once for a shape of batches (`torch.cuda.make_graphed_callables`), and launches the record as a whole.
Other shapes, as of the last batch of an epoch, and passes outside of training run as ever. We had no card at hand: on
the processor, with a recording that only pretends, weights are those without it to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from automl_kd.bilevel.pure import GeneratorStates
from automl_kd.spec import Recipe
from automl_kd.training.evaluate import in_bfloat16

MakeRecord = Callable[[nn.Module, tuple[Tensor, ...]], Any]
"""Sets `forward` of a network to one that launches the record of its passes on images like those given."""


def record_by_cuda(network: nn.Module, images: tuple[Tensor, ...]) -> Any:
    return torch.cuda.make_graphed_callables(network, images)


class RecordedStudent:
    """Records `student`'s passes at its first batch, and uses the record in training for batches like it.

    A student with hooks inside, as those that read its feature layers leave, runs as ever: a record would not call
    them. So does a recurrent one, which asks the card how long texts are. Its own hooks are called around the record.
    Within a step the student may run once, as a second run would overwrite what the first one's gradients need.
    """

    def __init__(self, student: nn.Module, recipe: Recipe, record: MakeRecord = record_by_cuda) -> None:
        self.student, self.recipe, self.record = student, recipe, record
        self.recorded: Callable[[Tensor], Tensor] | None = None
        self.like: tuple[torch.Size, torch.dtype] | None = None
        self.counters = [
            module.num_batches_tracked
            for module in student.modules()
            if isinstance(module, _BatchNorm) and module.num_batches_tracked is not None
        ]
        inside = [module for module in student.modules() if module is not student]
        free = "forward" not in vars(student) and not student._backward_hooks and not any(map(has_hooks, inside))
        self.able = free and not any(isinstance(module, nn.RNNBase) for module in inside)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Inside, the student's passes are those of the record as far as there is one."""
        if not self.able:
            yield
            return
        self.student.forward = self.forward
        try:
            yield
        finally:
            del self.student.forward

    def forward(self, images: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return self.plain(images)
        like = (images.shape, images.dtype)
        if self.recorded is None:
            self.like, self.recorded = like, self.make_record(images)
        if like != self.like:
            return self.plain(images)
        logits: Tensor = self.recorded(images)
        if self.counters:  # which lie on the processor, where a record does not reach
            torch._foreach_add_(self.counters, 1)
        return logits

    def plain(self, images: Tensor) -> Tensor:
        logits: Tensor = type(self.student).forward(self.student, images)
        return logits

    def make_record(self, images: Tensor) -> Callable[[Tensor], Tensor]:
        """Recording runs the student some times, of which no trace is left in its buffers and the generators."""
        buffers = {name: value.clone() for name, value in self.student.named_buffers()}
        draws = GeneratorStates.now(images.device)
        del self.student.forward
        lower = in_bfloat16(images.device, self.recipe)
        lowered = torch.autocast(images.device.type, torch.bfloat16, enabled=lower, cache_enabled=False)
        with without_hooks(self.student), lowered:
            self.record(self.student, (images.detach().clone(),))
        recorded: Callable[[Tensor], Tensor] = self.student.forward
        self.student.forward = self.forward
        with torch.no_grad():
            for name, value in self.student.named_buffers():
                value.copy_(buffers[name])
        draws.restore()
        return recorded


@contextmanager
def without_hooks(network: nn.Module) -> Iterator[None]:
    """Torch records no network that has some; those of its modules stay."""
    before, after = dict(network._forward_pre_hooks), dict(network._forward_hooks)
    network._forward_pre_hooks.clear()
    network._forward_hooks.clear()
    try:
        yield
    finally:
        network._forward_pre_hooks.update(before)
        network._forward_hooks.update(after)


def has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)
