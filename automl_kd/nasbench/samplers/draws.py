"""Random numbers of many seeds at once, each a function of its seed, a stream's name, a step and a place.

Output by counting as in `automl_kd.data.counter` (splitmix64), here in numpy and for all seeds together. What one seed
draws depends neither on which seeds run beside it nor on what it drew before.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from automl_kd.data.counter import FIRST, GOLDEN, SECOND, key

Integers = NDArray[np.int64]
Reals = NDArray[np.float64]

STRIDE = 2**24
"""Places of one step; more are never drawn at once."""


@dataclass(frozen=True, eq=False)
class SeededDraws:
    """`seeds`: distinct integers of 0 or more, in any order."""

    seeds: Sequence[int]
    _keys: dict[str, NDArray[np.uint64]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.seeds)

    def uniform(self, stream: str, step: int, count: int) -> Reals:
        """Reals in [0, 1), shape (seeds, count)."""
        if stream not in self._keys:
            name = zlib.crc32(stream.encode())
            self._keys[stream] = np.array([key(seed, name) for seed in self.seeds], dtype=np.uint64)
        counters = np.arange(1, count + 1, dtype=np.uint64) + np.uint64(step * STRIDE)
        z = self._keys[stream][:, None] + counters * np.uint64(GOLDEN)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(FIRST)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(SECOND)
        z ^= z >> np.uint64(31)
        # The 53 highest bits are what a double can hold.
        drawn: Reals = (z >> np.uint64(11)) * 2.0**-53
        return drawn

    def integers(self, stream: str, step: int, below: int, count: int) -> Integers:
        """Integers from 0 to `below` - 1, shape (seeds, count)."""
        return (self.uniform(stream, step, count) * below).astype(np.int64)
