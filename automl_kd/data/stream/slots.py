"""Where the bytes of one decoded batch lie: in memory of this process, or in a file in memory handed to others.

Each batch of a helper has a file of its own, so a batch that is dropped while somebody copies it stays whole for him,
and its memory is free once he has closed it, or has been killed. Bytes are written and read, never mapped: they count
for nobody's resident memory.
"""

from __future__ import annotations

import itertools
import os
import weakref
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from automl_kd.data.stream.render import Planes, RowNumbers

BatchBytes = np.ndarray[Any, np.dtype[np.uint8]]
"""uint8 (images, bytes of a view), writable."""


class Slot(Protocol):
    """Views of `view_bytes` each. Threads write different ones at the same time; whoever reads waits until all are."""

    def write(self, place: int, planes: Planes) -> None: ...

    def fill(self, content: BatchBytes) -> None:
        """Write all views."""

    def read(self, places: RowNumbers, out: BatchBytes) -> None:
        """The views at `places` into `out`, in their order."""


class LocalSlot:
    """In memory of this process."""

    def __init__(self, content: BatchBytes) -> None:
        self.content = content

    @staticmethod
    def create(images: int, view_bytes: int) -> LocalSlot:
        return LocalSlot(np.empty((images, view_bytes), np.uint8))

    def write(self, place: int, planes: Planes) -> None:
        for part, plane in zip(np.split(self.content[place], 3), planes, strict=True):
            part[:] = np.frombuffer(plane, np.uint8)

    def fill(self, content: BatchBytes) -> None:
        self.content[:] = content

    def read(self, places: RowNumbers, out: BatchBytes) -> None:
        np.take(self.content, places, axis=0, out=out)


class SharedSlot:
    """In a file in memory, whose descriptor `handle` is sent to others; closed with this object."""

    def __init__(self, handle: int, view_bytes: int) -> None:
        self.handle, self.view_bytes = handle, view_bytes
        weakref.finalize(self, os.close, handle)

    @staticmethod
    def create(images: int, view_bytes: int) -> SharedSlot:
        slot = SharedSlot(os.memfd_create("automl_kd_batch"), view_bytes)
        os.truncate(slot.handle, images * view_bytes)
        return slot

    def write(self, place: int, planes: Planes) -> None:
        if os.pwritev(self.handle, planes, place * self.view_bytes) != self.view_bytes:
            raise MemoryError("there is no memory for a batch of images")

    def fill(self, content: BatchBytes) -> None:
        if os.pwrite(self.handle, content.data, 0) != content.nbytes:
            raise MemoryError("there is no memory for a batch of images")

    def read(self, places: RowNumbers, out: BatchBytes) -> None:
        for begin, end in stretches(places):
            wanted, offset = out[begin:end], int(places[begin]) * self.view_bytes
            if os.preadv(self.handle, [wanted.data], offset) != wanted.nbytes:
                raise OSError("a batch of images ends early")


def stretches(places: RowNumbers) -> Iterator[tuple[int, int]]:
    """Begin and end of each stretch of `places` in which one follows the other."""
    cuts = [0, *(np.flatnonzero(np.diff(places) != 1) + 1).tolist(), len(places)]
    yield from itertools.pairwise(cuts)


def as_bytes(views: Tensor) -> BatchBytes:
    """Contiguous uint8 (n, 3, height, width) as (n, bytes of a view); writing to it writes to them."""
    found: BatchBytes = views.flatten(1).numpy()
    return found
