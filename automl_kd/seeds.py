"""Seeds for the parts of a run: unrelated streams of random numbers from one number."""

from __future__ import annotations

import hashlib


def derive(*parts: str | int) -> int:
    """A seed in [0, 2^63) that depends on all parts; streams of different parts are unrelated."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
