"""Image files to one array of bytes: decoded by a few threads, once for all processes where that takes long."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from automl_kd import files
from automl_kd.data.encoded.ranges import EncodedImages
from automl_kd.data.fit import Fit, Size
from automl_kd.data.images import pixels
from automl_kd.data.kept import KEPT_FROM, alone, ground, hashed
from automl_kd.errors import DataError
from automl_kd.spec import Interpolation

ImageBytes = np.ndarray[Any, np.dtype[np.uint8]]

IN_MEMORY = 2 * 2**30  # bytes; larger arrays live in a file, or nowhere
MANY = 1000
"""So many images take seconds to decode, however small they become."""

THREADS = min(4, os.cpu_count() or 1)
RESAMPLING: Mapping[Interpolation, Image.Resampling] = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
}

DECODED_VERSION = 2  # raised when the same files begin to give other bytes


def decoded(images: EncodedImages, size: Size, *, fit: Fit, root: Path, max_value: float = 0.0) -> torch.Tensor:
    """uint8 (len(images), 3, height, width), in colour.

    `fit`: where it has a size, which is that of `size`, the middle of each scaled image is cut out; otherwise every
    image must have `size`. An array of more than `KEPT_FROM` bytes or `MANY` images is mapped from a file below `root`,
    made once for these images, as their files are now; one of up to `IN_MEMORY` bytes is decoded into memory where
    there is little room for a file. `max_value`: as of `pixels.decode_image`. `DataError` names an image that cannot be
    decoded or does not have the size.
    """
    shape = (len(images), 3, *size)
    needed = math.prod(shape)
    if needed > min(KEPT_FROM, IN_MEMORY) or len(images) > MANY:
        kept = ground(root) / ".decoded" / f"{images_stamp(decoding_version(size, fit, max_value), images)}.npy"
        if kept.is_file() or needed > IN_MEMORY or has_room(kept, needed):
            make_once(kept, shape, images, fit=fit, max_value=max_value)
            # Copy on write: torch warns about arrays that are read-only, and nothing ever writes to this one.
            return torch.from_numpy(np.load(kept, mmap_mode="c"))
    array: ImageBytes = np.empty(shape, dtype=np.uint8)
    decode_files(array, images, fit=fit, max_value=max_value)
    return torch.from_numpy(array)


def images_stamp(version: object, images: EncodedImages) -> str:
    """Sixteen hex digits of where the images lie, of their files as they are now and of `version`; see `hashed`."""
    _, firsts = np.unique(images.file, return_index=True)
    if len(firsts) == len(images):  # each a file of its own
        return hashed(version, (images.path(row) for row in range(len(images))))
    ranges = hashlib.sha256(b"".join(one.tobytes() for one in (images.file, images.offset, images.length)))
    return hashed((version, ranges.hexdigest()), (images.path(row) for row in firsts.tolist()))


def decoding_version(size: Size, fit: Fit, max_value: float) -> tuple[object, ...]:
    """What decides on the bytes, beside the files."""
    fitting: tuple[object, ...] = ()
    if fit.size and fit != Fit(fit.size):
        fitting = (fit.crop, fit.interpolation, *([fit.resize] if fit.resize else []))
    return (DECODED_VERSION, size, fit.size > 0, max_value, *fitting)


def make_once(kept: Path, shape: tuple[int, ...], images: EncodedImages, *, fit: Fit, max_value: float) -> None:
    if kept.is_file():
        return
    with alone(kept):
        if not kept.is_file():
            write_decoded(kept, shape, images, fit=fit, max_value=max_value)


def has_room(kept: Path, needed: int) -> bool:
    """Whether a file of the user's disk that saves time only, and no memory, leaves most of the room free."""
    there = next(path for path in kept.parents if path.exists())
    return 4 * needed < shutil.disk_usage(there).free


def write_decoded(kept: Path, shape: tuple[int, ...], images: EncodedImages, *, fit: Fit, max_value: float) -> None:
    """Fill a file under a temporary name, then rename it, so that no reader ever sees half of it."""
    needed, free = math.prod(shape), shutil.disk_usage(kept.parent).free
    # A full disk under a mapped file is not an exception but the end of the process.
    if needed > free:
        raise DataError(
            f"decoding {len(images)} images needs {needed / 1e9:.1f} GB in {kept.parent}, which has {free / 1e9:.1f} "
            f"GB free; make room or lower data.resolution or data.train_images"
        )
    with files.replacing(kept) as scratch:
        array = np.lib.format.open_memmap(scratch, mode="w+", dtype=np.uint8, shape=shape)
        decode_files(array, images, fit=fit, max_value=max_value)
        array.flush()


def decode_files(array: ImageBytes, images: EncodedImages, *, fit: Fit, max_value: float) -> None:
    size = (array.shape[2], array.shape[3])

    def one(row: int) -> None:
        array[row] = decode(images, row, size, fit=fit, max_value=max_value)

    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(one, range(len(images))):
            pass


def decode(images: EncodedImages, row: int, size: Size, *, fit: Fit, max_value: float = 0.0) -> ImageBytes:
    """The image at `row` as uint8 (3, height, width)."""
    picture = pixels.read_encoded(images, row, max_value)
    if fit.size:
        picture = center_square(picture, fit)
    if (picture.height, picture.width) != size:
        raise DataError(
            f"{images.called(row)} has {picture.height}x{picture.width} pixels where another has {size[0]}x{size[1]}; "
            f"set data.resolution, to which all are then resized"
        )
    return np.asarray(picture).transpose(2, 0, 1)


def center_square(picture: Image.Image, fit: Fit) -> Image.Image:
    """The middle square of `picture` after its shorter side, or with "squash" each side, has been scaled.

    Sides and offsets are rounded as torchvision's Resize and CenterCrop do, with which most networks are published, or
    as transformers' processors, which round offsets down.
    """
    side, shorter = fit.scaled_side, min(picture.size)
    nearest = not fit.resize and fit.crop == 1
    if fit.resize == "squash":
        width, height = side, side
    elif nearest:
        scale = side / shorter
        width, height = (max(side, round(one * scale)) for one in picture.size)
    else:
        width, height = (side * one // shorter for one in picture.size)
    if nearest or fit.resize == "transformers":
        left, top = (width - fit.size) // 2, (height - fit.size) // 2
    else:
        left, top = (round((one - fit.size) / 2) for one in (width, height))
    scaled = picture.resize((width, height), RESAMPLING[fit.interpolation])
    return scaled.crop((left, top, left + fit.size, top + fit.size))


def read_image_size(images: EncodedImages, max_value: float = 0.0) -> Size:
    """Height and width of the first image as it is read, upright."""
    picture = pixels.read_encoded(images, 0, max_value)
    return picture.height, picture.width
