"""Views of whole epochs on disk, for trials that begin later: one file for each stream and epoch, a slot for a batch.

A slot has a checksum, and one that does not fit counts as never written, so writing needs no order and no sync. A file
takes its full length as it is made, though nothing on the disk, so the lengths of all files are what the limit is held
against. Room is made by removing the files that were unused longest; they are cut to nothing first, which frees the
disk while others have them open.
"""

from __future__ import annotations

import os
import shutil
import struct
import threading
import weakref
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

import numpy as np

from automl_kd import files
from automl_kd.data.stream.slots import BatchBytes

SLOT_HEAD = struct.Struct("<QQ")
"""Checksum, bytes of the views."""

EPOCH_SALT = 0x5EED0FA11E70C501
LEFT_FREE = 2**30
"""Free bytes that stay on the disk."""
OPEN = 4
"""Files that are open at a time."""


class EpochFiles:
    """The views of one stream, called `key`, in `folder`, where all streams together take at most `limit` bytes.

    `steps`, `batch_bytes`: of an epoch and of a whole batch. What the disk refuses is not kept, and says so nowhere.
    """

    def __init__(self, folder: Path, key: str, *, steps: int, batch_bytes: int, limit: int) -> None:
        self.folder, self.key, self.steps, self.limit = folder, key, steps, limit
        self.slot = SLOT_HEAD.size + batch_bytes
        self.opened: OrderedDict[int, OpenFile | None] = OrderedDict()
        self.alone = threading.Lock()

    def read(self, number: int, shape: tuple[int, int]) -> BatchBytes | None:
        """The views of batch `number`; None if they are not there."""
        epoch, step = divmod(number, self.steps)
        if (file := self.open(epoch)) is None:
            return None
        content, head = np.empty(shape, np.uint8), bytearray(SLOT_HEAD.size)
        try:
            got = os.preadv(file.handle, [head, content.data], step * self.slot)
        except OSError:
            return None
        total, length = SLOT_HEAD.unpack(head)
        whole = got == SLOT_HEAD.size + content.nbytes and length == content.nbytes
        return content if whole and total == sum_words(content, step) else None

    def write(self, number: int, content: BatchBytes) -> None:
        epoch, step = divmod(number, self.steps)
        file = self.open(epoch)
        if file is None or os.fstat(file.handle).st_nlink == 0:  # removed to make room
            return
        head = SLOT_HEAD.pack(sum_words(content, step), content.nbytes)
        with suppress(OSError):
            os.pwritev(file.handle, [head, content.data], step * self.slot)

    def open(self, epoch: int) -> OpenFile | None:
        """The file of an epoch, made if there is room for it."""
        with self.alone:
            if epoch not in self.opened:
                try:
                    file = self.admit(self.folder / f"{self.key}-{epoch:05d}.views")
                except OSError:
                    file = None
                self.opened[epoch] = file
            if len(self.opened) > OPEN:
                self.opened.popitem(last=False)
            return self.opened[epoch]

    def admit(self, path: Path) -> OpenFile | None:
        wanted = self.slot * self.steps
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "views.lock").open("ab") as lock:
            files.wait_lock(lock)
            if not path.exists() and not make_space(self.folder, wanted, self.limit):
                return None
            file = OpenFile(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666))
            os.truncate(file.handle, wanted)
            os.utime(file.handle)
            return file


class OpenFile:
    """A descriptor, closed with this object."""

    def __init__(self, handle: int) -> None:
        self.handle = handle
        weakref.finalize(self, os.close, handle)


def make_space(folder: Path, wanted: int, limit: int) -> bool:
    """Whether `wanted` more bytes fit, once others that were unused longest are removed if that helps."""
    found = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in folder.glob("*.views"))
    room = limit - sum(size for _, size, _ in found)
    for _, size, path in found:
        if room >= min(wanted, limit):
            break
        os.truncate(path, 0)
        path.unlink()
        room += size
    return room >= wanted and shutil.disk_usage(folder).free - LEFT_FREE >= wanted


def sum_words(content: BatchBytes, step: int) -> int:
    """A sum over 64-bit words, which separates whole slots from torn ones at the speed of memory."""
    flat = content.reshape(-1)
    whole = len(flat) // 8 * 8
    rest = int.from_bytes(flat[whole:].tobytes(), "little")
    return (EPOCH_SALT + step + len(flat) + int(flat[:whole].view(np.uint64).sum()) + rest) % 2**64
