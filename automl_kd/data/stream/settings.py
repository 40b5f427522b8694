"""How images are decoded, which changes no pixel of them, and what it took."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass
from typing import Any

MEGABYTE, GIGABYTE = 2**20, 10**9


@dataclass(frozen=True)
class LoaderSettings:
    """`threads`: that decode; 0 for all cores but one, and at least one. `shared`: one helper process decodes for all
    trials of the node; its threads and ring are those of whoever starts it. `ring_mb`: MiB of decoded batches held
    there. `cache_gb`: so many 10**9 bytes of views are kept in `folder`, so that later trials need not decode them; 0
    for none. `pinned`: batches are read into page-locked memory.
    """

    threads: int = 0
    shared: bool = True
    ring_mb: int = 512
    cache_gb: float = 0.0
    folder: str = ""
    pinned: bool = False

    def __post_init__(self) -> None:
        if self.threads < 0:
            raise ValueError(f"threads must be 0 (all cores but one) or more, got {self.threads}")
        if self.ring_mb < 1:
            raise ValueError(f"ring_mb must be at least 1, got {self.ring_mb}")
        if not 0 <= self.cache_gb < math.inf:
            raise ValueError(f"cache_gb must be 0 (nothing is kept) or more, got {self.cache_gb}")
        if self.cache_gb and not self.folder:
            raise ValueError(f"cache_gb = {self.cache_gb:g} needs a folder to keep views in; give one")

    @property
    def workers(self) -> int:
        """Threads in number."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return self.threads or max(1, cores - 1)

    @property
    def ring_bytes(self) -> int:
        return self.ring_mb * MEGABYTE

    @property
    def cache_bytes(self) -> int:
        return int(self.cache_gb * GIGABYTE)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> LoaderSettings:
        return LoaderSettings(**record)


@dataclass(frozen=True)
class LoaderStats:
    """Of one reader, in images: `delivered`; `decoded` for it, `decoded_again` of those because trials had drifted too
    far apart; `from_disk`. A batch that several share counts for the one that had it first. `seconds_waited`: in
    `read`, until the batch was there.
    """

    delivered: int = 0
    decoded: int = 0
    decoded_again: int = 0
    from_disk: int = 0
    seconds_waited: float = 0.0

    def __add__(self, other: LoaderStats) -> LoaderStats:
        return LoaderStats(*(one + another for one, another in zip(astuple(self), astuple(other), strict=True)))
