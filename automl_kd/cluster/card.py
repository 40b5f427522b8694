"""A card that several processes share: each keeps to its part of the memory, and gives back what a trial leaves."""

from __future__ import annotations

import gc

import torch


def keep_to(share: float) -> None:
    """Let this process take no more than that part of its card's memory, above 0 and below 1; else do nothing.

    It limits what torch hands out. What the driver takes for each process comes on top.
    """
    if 0 < share < 1 and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(share)


def give_back() -> None:
    """Return to the card what torch keeps of memory that nobody uses any longer: a neighbour may want it."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        gc.collect()  # a trial's hooks and optimizers refer to each other
        torch.cuda.empty_cache()
