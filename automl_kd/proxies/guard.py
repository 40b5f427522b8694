"""Put the caller's things back: whatever a proxy does to a network, it is undone here, once for all proxies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class SavedTensor:
    """A parameter or buffer, with a copy of its values and of its gradient."""

    tensor: Tensor
    values: Tensor
    requires_grad: bool
    gradient: Tensor | None

    @staticmethod
    def of(tensor: Tensor) -> SavedTensor:
        gradient = None if tensor.grad is None else tensor.grad.clone()
        return SavedTensor(tensor, tensor.detach().clone(), tensor.requires_grad, gradient)

    def restore(self) -> None:
        self.tensor.grad = None
        # Not copy_: the proxy may have changed type, layout or device as well.
        self.tensor.data = self.values
        self.tensor.requires_grad_(self.requires_grad)
        self.tensor.grad = self.gradient


@dataclass(frozen=True, eq=False)
class SavedModule:
    """The attributes of one module: its mode, hooks, patched functions, and which tensors and children it holds."""

    module: nn.Module
    attributes: dict[str, Any]
    contents: dict[str, dict[Any, Any]]

    @staticmethod
    def of(module: nn.Module) -> SavedModule:
        attributes = dict(vars(module))
        contents = {name: dict(value) for name, value in attributes.items() if isinstance(value, dict)}
        return SavedModule(module, attributes, contents)

    def restore(self) -> None:
        state = vars(self.module)
        state.clear()
        state.update(self.attributes)
        for name, content in self.contents.items():
            # Refilled rather than replaced: the handles that remove hooks refer to the dictionary itself.
            held = state[name]
            if held or content:
                held.clear()
                held.update(content)


@contextmanager
def untouched(network: nn.Module) -> Iterator[None]:
    """On leaving, weights, buffers, gradients, modes, hooks and torch's generators are as they were on entering.

    Bit for bit, also after an exception. Generators of CUDA devices are included once CUDA is in use.
    """
    modules = [SavedModule.of(module) for module in network.modules()]
    tensors = [SavedTensor.of(tensor) for tensor in chain(network.parameters(), network.buffers())]
    in_use = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]  # torch does not annotate it
    devices = range(torch.cuda.device_count()) if in_use else ()
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            for module in modules:
                module.restore()
            for tensor in tensors:
                tensor.restore()
