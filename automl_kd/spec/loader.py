"""The record of how images that are not kept in memory are decoded."""

from __future__ import annotations

from dataclasses import dataclass

from automl_kd.registry import check_fields
from automl_kd.spec.checks import require


@dataclass(frozen=True, kw_only=True)
class LoaderOptions:
    """How images that are decoded as they are needed (data.loading) come to the trials of a machine.

    It decides where batches come from and not what they are, so it is no part of what a trial is. `threads` (0 or
    more): threads that decode; 0 takes all cores but one. `shared`: one process decodes for all trials of a machine,
    each batch once for those that are in step; otherwise each trial has a process of its own. `ring_mb` (16 or more):
    memory for batches that are decoded ahead, in 2^20 bytes. `cache_gb` (0 or more): views of whole epochs that are
    kept on disk for trials that come later, below the root of data, in 10^9 bytes; 0 keeps none.
    """

    threads: int = 0
    shared: bool = True
    ring_mb: int = 512
    cache_gb: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self)
        require(self.threads >= 0, f"threads must be 0 (all cores but one) or more, got {self.threads}")
        require(self.ring_mb >= 16, f"ring_mb must be 16 or more, got {self.ring_mb}")
        require(self.cache_gb >= 0, f"cache_gb must be 0 (none) or more, got {self.cache_gb}")
