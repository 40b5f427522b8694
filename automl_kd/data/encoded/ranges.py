"""Encoded images as ranges of bytes in files: a whole file, a member of a tar shard, a part of a pack.

Numbers are arrays and paths are one array of bytes, so a million images are a few arrays that processes map from one
file, and no list of paths travels to a worker.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from automl_kd import files
from automl_kd.errors import DataError, FileError

NumberArray = np.ndarray[Any, Any]

WHOLE_FILE = -1
"""In place of a length, of an image that is all of its file."""

ARRAYS = ("names", "ends", "file", "offset", "length", "labels")


@dataclass(frozen=True, eq=False)
class EncodedImages:
    """n images in files.

    `names`: uint8, the absolute paths of the files, as the system spells them, one after the other; `ends`: int64
    (files,), where each ends. `file`: int32 (n,), the number of each image's file. `offset`, `length`: int64 (n,), its
    bytes there; `WHOLE_FILE` for all from the offset on. `labels`: int64 (n,).
    """

    names: NumberArray
    ends: NumberArray
    file: NumberArray
    offset: NumberArray
    length: NumberArray
    labels: NumberArray

    @staticmethod
    def of(
        paths: Iterable[Path], file: NumberArray, offset: NumberArray, length: NumberArray, labels: NumberArray
    ) -> EncodedImages:
        spelt = [os.fsencode(path) for path in paths]
        names = np.frombuffer(b"".join(spelt), dtype=np.uint8)
        ends = np.cumsum([len(one) for one in spelt], dtype=np.int64)
        whole = np.int64
        return EncodedImages(
            names, ends, file.astype(np.int32), offset.astype(whole), length.astype(whole), labels.astype(whole)
        )

    def __len__(self) -> int:
        return len(self.file)

    def take(self, rows: NumberArray) -> EncodedImages:
        """The images at `rows`, int64, in their order."""
        chosen = {name: getattr(self, name)[rows] for name in ("file", "offset", "length", "labels")}
        return replace(self, **chosen)

    @staticmethod
    def joined(parts: Sequence[EncodedImages]) -> EncodedImages:
        """All images of several, in their order."""
        spelt = np.cumsum([0, *(len(one.names) for one in parts)])
        files_before = np.cumsum([0, *(len(one.ends) for one in parts)])
        found = {name: np.concatenate([getattr(one, name) for one in parts]) for name in ARRAYS}
        found["ends"] = np.concatenate([one.ends + begin for one, begin in zip(parts, spelt, strict=False)])
        found["file"] = np.concatenate(
            [(one.file + begin).astype(np.int32) for one, begin in zip(parts, files_before, strict=False)]
        )
        return EncodedImages(**found)

    def path(self, row: int) -> Path:
        """The file in which the image at `row` lies."""
        number = int(self.file[row])
        begin = int(self.ends[number - 1]) if number else 0
        return Path(os.fsdecode(self.names[begin : int(self.ends[number])].tobytes()))

    def called(self, row: int) -> str:
        """What errors call the image at `row`."""
        path = self.path(row)
        return str(path) if self.length[row] == WHOLE_FILE else f"{path} (image at byte {int(self.offset[row]):,})"

    def read(self, row: int) -> bytes:
        """The encoded bytes of the image at `row`. `DataError` if its file is gone or ends before."""
        path, length = self.path(row), int(self.length[row])
        try:
            with files.open_file(path) as file:
                if length == WHOLE_FILE:
                    return file.read()
                file.seek(int(self.offset[row]))
                found = file.read(length)
        except FileError as error:
            raise cannot_read(path, error) from error
        if len(found) < length:
            raise DataError(f"{path} ends before the image at byte {int(self.offset[row]):,}; copy the file again")
        return found

    def save(self, path: Path) -> None:
        """Into one file, whole or not at all."""
        with files.replacing(path) as scratch, scratch.open("wb") as file:
            for name in ARRAYS:
                np.save(file, getattr(self, name))

    @staticmethod
    def load(path: Path) -> EncodedImages:
        """What was saved at `path`, mapped and not read. `OSError` or `ValueError` if it is no such file."""
        found, at = {}, 0
        with path.open("rb") as file:
            for name in ARRAYS:
                file.seek(at)
                np.lib.format.read_magic(file)
                shape, _, dtype = np.lib.format.read_array_header_1_0(file)
                begin = file.tell()
                at = begin + int(np.prod(shape)) * dtype.itemsize
                found[name] = np.memmap(file, dtype, "r", begin, shape) if shape[0] else np.empty(shape, dtype)
        return EncodedImages(**found)


def cannot_read(path: Path, error: FileError) -> DataError:
    advice = "bring it back" if error.errno == errno.ENOENT else "make it readable or remove it"
    return DataError(f"{path} cannot be read: {error.strerror}; {advice}")
