"""Memory that several processes share: each keeps to its part of a GPU's, and frees what it can after a trial."""

from __future__ import annotations

import torch

from automl_kd.memory import return_freed_memory


def keep_to(share: float) -> None:
    """Limit this process to a fraction of its GPU's memory, above 0 and below 1; else do nothing.

    It limits what torch hands out. What the driver takes for each process comes on top.
    """
    if 0 < share < 1 and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(share)


def give_back() -> None:
    """Free unused memory, on the processor and what torch caches on the GPU: another process may need it."""
    return_freed_memory()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        torch.cuda.empty_cache()
