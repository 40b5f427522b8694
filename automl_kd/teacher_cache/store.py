"""The teacher cache on disk: a fixed teacher's outputs on training batches, for all trials on the same batches.

A folder belongs to one teacher and one sequence of batches; its name is a digest of all that the numbers depend on. In
it each epoch has a file, and in that each batch a slot: a head with a checksum, then the bytes of its tensors. A slot
whose checksum does not fit counts as empty, so writing needs no order, no journal and no sync: a slot torn by a kill, a
power cut or a slow network file system counts as never written. Two writers of one slot write the same bytes.

The process that computes a batch holds a lock on one byte of the file, so that others can do something else meanwhile;
the system releases it when the process ends, however it ends. Reading goes through the page cache, which is the memory
that all processes of a node share.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from automl_kd import files
from automl_kd.teacher_cache.eviction import Seat, make_room

Kept = Mapping[str, Tensor]
"""The tensors of one batch by name, on the processor; the first dimension counts images."""

CacheBytes = np.ndarray[Any, np.dtype[np.uint8]]

HEAD = struct.Struct("<QQd")
"""Checksum of all else, bytes of the tensors, seconds that the teacher's pass took."""

SALT = 0x7EAC4E25BA4C0001
"""In every checksum: zeros, which a file holds where nothing was written, have another one."""

LAYOUT, ABOUT = "layout.json", "about.json"


@dataclass(frozen=True)
class TensorForm:
    """How one tensor of a batch lies in memory: type, shape of an image's part, strides of all dimensions.

    Strides are kept because a network that reads a map may round otherwise where it lies otherwise.
    """

    dtype: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @staticmethod
    def of(value: Tensor) -> TensorForm:
        return TensorForm(str(value.dtype).removeprefix("torch."), tuple(value.shape[1:]), tuple(value.stride()))

    def empty(self, images: int, *, pinned: bool) -> Tensor:
        dtype: torch.dtype = getattr(torch, self.dtype)
        return torch.empty_strided((images, *self.shape), self.stride, dtype=dtype, pin_memory=pinned)


def dense(value: Tensor) -> bool:
    """Whether image follows image without gaps or overlaps, so that the tensor's bytes can be written as they lie."""
    if not value.numel() or value.stride(0) * len(value) != value.numel():
        return False
    expected = 1
    for stride, size in sorted(zip(value.stride(), value.shape, strict=True)):
        if size > 1 and stride != expected:
            return False
        expected *= size
    return True


def raw(value: Tensor) -> CacheBytes:
    """The bytes of a dense tensor, in the order in which they lie; writing to them writes to it."""
    flat: CacheBytes = value.as_strided((value.numel(),), (1,)).view(torch.uint8).numpy()
    return flat


def checksum(pieces: Sequence[CacheBytes], seconds: float, slot: int) -> int:
    """A sum over 64-bit words: it separates whole slots from torn ones, at the speed of memory."""
    total: int = SALT + slot + sum(map(len, pieces)) + struct.unpack("<Q", struct.pack("<d", seconds))[0]
    for piece in pieces:
        whole = len(piece) // 8 * 8
        total += int(piece[:whole].view(np.uint64).sum()) + int.from_bytes(piece[whole:].tobytes(), "little")
    return total % 2**64


class TeacherCacheStore:
    """One folder of the cache, in use. Whatever the disk refuses is an `OSError`.

    `images`, `steps`: of a whole batch and of an epoch. `limit`: bytes for all folders below `root`.
    """

    def __init__(
        self, folder: Path, root: Path, about: Mapping[str, object], *, images: int, steps: int, limit: float
    ) -> None:
        self.folder, self.root, self.images, self.steps, self.limit = folder, root, images, steps, limit
        self.layout: dict[str, TensorForm] | None = None
        self.slot = 0
        self.name, self.file = "", -1
        self.closing: Callable[[], object] | None = None
        self.admitted: dict[str, bool] = {}
        self.seat = Seat(folder)
        publish(folder / ABOUT, json.dumps(about, indent=1, sort_keys=True))

    def turn(self, epoch: int, piece: Sequence[int]) -> None:
        """Open the file of an epoch, or of the pieces of its batches with these numbers."""
        name = "-".join(["epoch", f"{epoch:04d}", *map(str, piece)]) + ".bin"
        if name == self.name:
            return
        self.close()
        self.file = os.open(self.folder / name, os.O_RDWR | os.O_CREAT, 0o666)
        self.name, self.closing = name, weakref.finalize(self, os.close, self.file)

    def close(self) -> None:
        if self.closing is not None:
            self.closing()
        self.name, self.file, self.closing = "", -1, None

    def read(self, step: int, images: int, *, pinned: bool = False) -> tuple[dict[str, Tensor], float] | None:
        """The tensors of batch `step`, and the seconds that they took when they were computed; None if not there."""
        if (layout := self.known_layout()) is None:
            return None
        found = {name: form.empty(images, pinned=pinned) for name, form in layout.items()}
        pieces, head = [raw(value) for value in found.values()], bytearray(HEAD.size)
        length = sum(map(len, pieces))
        if os.preadv(self.file, [head, *(piece.data for piece in pieces)], step * self.slot) != HEAD.size + length:
            return None
        total, written, seconds = HEAD.unpack(head)
        if written != length or total != checksum(pieces, seconds, step):
            return None
        return found, seconds

    def claim(self, step: int) -> bool:
        """Whether nobody else is computing batch `step`; until `release` or this process's end, this one is."""
        try:
            fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, step)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks: everyone computes, nobody waits
            return True
        return True

    def release(self, step: int) -> None:
        with suppress(OSError):
            fcntl.lockf(self.file, fcntl.LOCK_UN, 1, step)

    def write(self, step: int, kept: Kept, seconds: float) -> bool:
        """Put a batch into its slot; False if it lies otherwise than the others, or there is no room for its epoch."""
        if not all(map(dense, kept.values())) or not self.fits(kept) or not self.room():
            return False
        pieces = [raw(value) for value in kept.values()]
        length = sum(map(len, pieces))
        head = HEAD.pack(checksum(pieces, seconds, step), length, seconds)
        buffers = [memoryview(head), *(piece.data for piece in pieces)]
        return os.pwritev(self.file, buffers, step * self.slot) == HEAD.size + length

    def fits(self, kept: Kept) -> bool:
        forms = {name: TensorForm.of(value) for name, value in kept.items()}
        if self.known_layout() is None:
            publish(self.folder / LAYOUT, json.dumps({name: asdict(form) for name, form in forms.items()}))
        return self.known_layout() == forms

    def known_layout(self) -> dict[str, TensorForm] | None:
        if self.layout is None and (record := read_json_or_none(self.folder / LAYOUT)) is not None:
            self.layout = {
                name: TensorForm(form["dtype"], tuple(form["shape"]), tuple(form["stride"]))
                for name, form in record.items()
            }
            bytes_each = (getattr(torch, form.dtype).itemsize * form.stride[0] for form in self.layout.values())
            self.slot = -(-(HEAD.size + self.images * sum(bytes_each)) // 8) * 8
        return self.layout

    @property
    def full(self) -> bool:
        """Whether the open epoch is known to have no room."""
        return not self.admitted.get(self.name, True)

    def room(self) -> bool:
        """Whether the open epoch may be kept: asked once for each, before its first batch is written here."""
        if self.name not in self.admitted:
            missing = self.slot * self.steps - os.fstat(self.file).st_blocks * 512
            self.admitted[self.name] = make_room(self.root, self.folder, missing, self.limit)
        return self.admitted[self.name]


def publish(path: Path, text: str) -> None:
    """Write a file that has the same content from all writers, unless it is there: whole or absent, on the disk."""
    if not path.exists():
        files.write(path, text)


def read_json_or_none(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return found
