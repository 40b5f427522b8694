"""Attention carried out as the matrix products that it is made of, where a fused kernel would be quicker.

A fused kernel hides its products from who counts them, and has no derivative of its derivative and no forward one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch.backends import mha
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def without_fused_attention() -> Iterator[None]:
    """Inside, attention runs on no fused kernel, on any device; afterwards the settings are as they were.

    The numbers are those of the fused kernels but for rounding, and but for what dropout inside attention draws.
    """
    fast = mha.get_fastpath_enabled()
    mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        mha.set_fastpath_enabled(fast)
