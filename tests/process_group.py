"""A process group over gloo that is gone, with its threads, when the processes end."""

from __future__ import annotations

import faulthandler
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch.distributed as dist

# Its functions have the group as it is when they are imported as a default, and would keep it alive until the
# interpreter is gone. A thread of gloo that is still there then may end the process with SIGABRT.
import torch.distributed.nn  # noqa: F401


@contextmanager
def process_group(folder: Path, rank: int, processes: int) -> Iterator[None]:
    """Inside, this is process `rank` of so many that meet in `folder`. A crash of one says where it was."""
    if not faulthandler.is_enabled():
        faulthandler.enable()
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=processes)
    group = weakref.ref(dist.group.WORLD)
    try:
        yield
        dist.barrier()  # nobody leaves while others still communicate
    finally:
        dist.destroy_process_group()
    assert group() is None
