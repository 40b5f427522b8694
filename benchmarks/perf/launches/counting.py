"""Counts operators that start a kernel on a GPU, without one: on torch's fake tensors, which have no numbers.

An operator counts where a tensor on the GPU goes in or comes out, unless it gives a view or fresh memory. One operator
may be several kernels (`convolution_backward`), so the count is a lower bound.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

NO_KERNEL = frozenset(
    {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}
    | {"_unsafe_view", "as_strided_", "detach", "lift_fresh", "device"}
)
"""Operators that are no views by their signature and start nothing."""


UNKNOWN_TO_FAKES = frozenset({"_fused_sgd_"})
"""Operators that give nothing back and that fake tensors cannot carry out (torch 2.14)."""


class LaunchCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    """Operators by the part of the work in which they are started, `part`, and by name.

    Where Python asks for a number, which fake tensors lack, it is given 1.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.part = ""
        self.found: Counter[tuple[str, str]] = Counter()

    def __torch_dispatch__(
        self, function: Any, types: object, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if function is torch.ops.aten._local_scalar_dense.default:
            return {torch.bool: True, torch.float32: 1.0, torch.float64: 1.0}.get(args[0].dtype, 1)
        name = function.overloadpacket.__name__
        result = None if name in UNKNOWN_TO_FAKES else function(*args, **(kwargs or {}))
        if not function.is_view and name not in NO_KERNEL and on_gpu((args, kwargs, result)):
            self.found[self.part, name] += 1
        return result

    @contextmanager
    def during(self, part: str) -> Iterator[None]:
        before, self.part = self.part, part
        try:
            yield
        finally:
            self.part = before

    @contextmanager
    def telling(self, owner: object, method: str, part: str) -> Iterator[None]:
        """Inside, what `owner.method` starts belongs to `part`."""
        real: Callable[..., Any] = getattr(owner, method)

        @wraps(real)
        def told(*args: Any, **kwargs: Any) -> Any:
            with self.during(part):
                return real(*args, **kwargs)

        with patch.object(owner, method, told):
            yield


def on_gpu(values: object) -> bool:
    """Whether a tensor on the GPU that is not empty is among them."""
    return any(
        isinstance(value, Tensor) and value.device.type == "cuda" and value.numel() > 0 for value in tree_leaves(values)
    )
