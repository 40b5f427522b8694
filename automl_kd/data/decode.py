"""Image files to one array of bytes: decoded by a few threads, kept on disk where memory is too small for it."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from automl_kd.errors import DataError
from automl_kd.files import replacing

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Size = tuple[int, int]  # height, width

IN_MEMORY = 2 * 2**30  # bytes; larger arrays live in a file
THREADS = min(4, os.cpu_count() or 1)
VERSION = 1  # raised when the same files begin to give other bytes
# What Pillow raises on damaged files, by format.
DAMAGED = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


def decoded(files: Sequence[Path], size: Size, *, fit: bool, root: Path) -> torch.Tensor:
    """uint8 (len(files), 3, height, width), in colour.

    `fit`: the shorter side is scaled to `size`, which is square then, and the middle is cut out; otherwise every image
    must have that size. An array of more than `IN_MEMORY` bytes is mapped from a file below `root`, which is made once
    for these files, as they are now. `DataError` names a file that cannot be decoded or does not have the size.
    """
    shape = (len(files), 3, *size)
    if math.prod(shape) <= IN_MEMORY:
        array: Bytes = np.empty(shape, dtype=np.uint8)
        fill(array, files, fit=fit)
        return torch.from_numpy(array)
    kept = root / ".decoded" / f"{fingerprint(files, size)}.npy"
    if not kept.is_file():
        write(kept, shape, files, fit=fit)
    # Copy on write: torch warns about arrays that are read-only, and nothing ever writes to this one.
    return torch.from_numpy(np.load(kept, mmap_mode="c"))


def write(kept: Path, shape: tuple[int, ...], files: Sequence[Path], *, fit: bool) -> None:
    """Fill a file under a temporary name, then rename it, so that no reader ever sees half of it."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    needed, free = math.prod(shape), shutil.disk_usage(kept.parent).free
    # A full disk under a mapped file is not an exception but the end of the process.
    if needed > free:
        raise DataError(
            f"decoding {len(files)} images needs {needed / 1e9:.1f} GB in {kept.parent}, which has {free / 1e9:.1f} GB "
            f"free; make room or lower data.resolution or data.train_images"
        )
    with replacing(kept) as scratch:
        array = np.lib.format.open_memmap(scratch, mode="w+", dtype=np.uint8, shape=shape)
        fill(array, files, fit=fit)
        array.flush()


def fingerprint(files: Sequence[Path], size: Size) -> str:
    digest = hashlib.sha256(repr((VERSION, size)).encode())
    for file in files:
        status = file.stat()
        digest.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:16]


def fill(array: Bytes, files: Sequence[Path], *, fit: bool) -> None:
    size = (array.shape[2], array.shape[3])

    def one(row: int) -> None:
        array[row] = decode(files[row], size, fit=fit)

    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(one, range(len(files))):
            pass


def decode(file: Path, size: Size, *, fit: bool) -> Bytes:
    """One image as uint8 (3, height, width)."""
    try:
        with Image.open(file) as image:
            picture = image.convert("RGB")
    except DAMAGED as error:
        raise DataError(f"{file} could not be decoded as an image; replace or remove it") from error
    if fit:
        picture = middle(picture, size[0])
    if (picture.height, picture.width) != size:
        raise DataError(
            f"{file} has {picture.height}x{picture.width} pixels where another has {size[0]}x{size[1]}; "
            f"set data.resolution, to which all are then resized"
        )
    return np.asarray(picture).transpose(2, 0, 1)


def middle(picture: Image.Image, resolution: int) -> Image.Image:
    """The middle square of `picture` after its shorter side has been scaled to `resolution`."""
    scale = resolution / min(picture.size)
    width, height = (max(resolution, round(side * scale)) for side in picture.size)
    left, top = (width - resolution) // 2, (height - resolution) // 2
    scaled = picture.resize((width, height), Image.Resampling.BILINEAR)
    return scaled.crop((left, top, left + resolution, top + resolution))


def size_of(file: Path) -> Size:
    """Height and width as the file's header has them."""
    try:
        with Image.open(file) as image:
            return image.height, image.width
    except DAMAGED as error:
        raise DataError(f"{file} could not be decoded as an image; replace or remove it") from error
