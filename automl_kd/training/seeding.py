"""Seeds for the parts of a run, and the only place that seeds torch's global generator."""

from __future__ import annotations

import hashlib

import torch


def derive(seed: int, *labels: str | int) -> int:
    """A seed in [0, 2**63) for one part of a run, independent of the seeds of its other parts."""
    text = ":".join(map(str, (seed, *labels)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def seed_everything(seed: int) -> None:
    """Seed torch's generators on all devices, for layers that draw from them (dropout)."""
    torch.manual_seed(seed)
