"""An index of images in one file, with a JSON object about them and a checksum, so that damage is seen."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from automl_kd import files
from automl_kd.data.encoded.ranges import ARRAYS, EncodedImages

INDEX_END = struct.Struct("<QI12s")
"""At the end of the file: bytes of the JSON text before it, CRC-32 of all before it, and what such a file is."""

INDEX_MARK = b"akd images 1"


def save_index(path: Path, images: EncodedImages, about: dict[str, Any], *, durable: bool = False) -> None:
    """Whole or not at all; if `durable`, after a power cut too, which takes a sync. `OSError` if the disk refuses."""
    text = json.dumps(about).encode()
    with files.replacing(path, durable=durable) as scratch, scratch.open("w+b") as file:
        for name in ARRAYS:
            np.save(file, getattr(images, name))
        file.seek(0)
        checksum = zlib.crc32(text, zlib.crc32(file.read()))
        file.write(text + INDEX_END.pack(len(text), checksum, INDEX_MARK))


def load_index(path: Path) -> tuple[EncodedImages, dict[str, Any]] | None:
    """What was saved at `path`, the images mapped; None if there is no such file, or it is damaged."""
    try:
        content = np.memmap(path, np.uint8, "r")
        length, checksum, mark = INDEX_END.unpack(content[-INDEX_END.size :].tobytes())
        before = content[: -INDEX_END.size]
        if mark != INDEX_MARK or length > len(before) or zlib.crc32(before.data) != checksum:
            return None
        return EncodedImages.load(path), json.loads(before[len(before) - length :].tobytes())
    except (OSError, ValueError, struct.error):
        return None


def cut_out(images: EncodedImages, begin: int, end: int) -> EncodedImages:
    """The images at `begin` to `end`, in the same memory."""
    names = ("file", "offset", "length", "labels")
    return replace(images, **{name: getattr(images, name)[begin:end] for name in names})
