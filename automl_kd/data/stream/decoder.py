"""Encoded bytes to pixels, equal to those of `pixels.decode_image` bit for bit, and faster for most JPEG images.

torchvision decodes upright grey and colour JPEGs; Pillow decodes everything else, names what is damaged, and decodes
all where the two libraries' copies of libjpeg give different pixels for a probe image. Both release the GIL.

In mode "scaled" a JPEG is decoded at a half, a quarter or an eighth of its size where that is no smaller than wanted
(Pillow's `draft`), which changes its pixels.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import io
import re
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import PIL
import torch
from PIL import Image, features

from automl_kd.data.images import pixels
from automl_kd.data.images.jpeg_header import plain_size
from automl_kd.errors import DataError

DecodeMode: TypeAlias = Literal["exact", "scaled"]
Pixels = np.ndarray[Any, np.dtype[np.uint8]]
"""uint8 (height, width, 3)."""

RGB = 3
"""torchvision's `ImageReadMode.RGB`."""
END_OF_JPEG = b"\xff\xd9"
JPEG_FACTORS = (8, 4, 2)
"""By which libjpeg reduces an image as it decodes it."""


def decode_pixels(content: bytes, name: str, max_value: float = 0.0) -> Pixels:
    """The image in `content`, which errors call `name`; `max_value` and `DataError`: as of `pixels.read_image`."""
    if plain_jpeg_size(content) is not None and torchvision_agrees():
        try:
            return decode_by_torchvision(content)
        except RuntimeError:  # Pillow says what is wrong, or knows better
            pass
    return np.asarray(pixels.decode_image(io.BytesIO(content), name, max_value))


def plain_jpeg_size(content: bytes) -> tuple[int, int] | None:
    """Width and height of a whole, upright JPEG in grey or in colour; None for all other images."""
    if not content.endswith(END_OF_JPEG):
        return None
    if (size := plain_size(content)) is not None:
        return size
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
            plain = image.format == "JPEG" and image.mode in {"L", "RGB"} and pixels.turn_of(image) is None
            return image.size if plain else None
    except Exception:  # Pillow's readers raise whatever damaged bytes lead them to; decode_image names the image
        return None


def decode_by_torchvision(content: bytes) -> Pixels:
    """By the operator itself: the function around it warns of its removal, after which Pillow decodes all."""
    load_jpeg_operator()
    encoded = torch.frombuffer(bytearray(content), dtype=torch.uint8)  # a copy, as torch warns of what is read-only
    decoded: torch.Tensor = torch.ops.image.decode_jpeg(encoded, RGB, False)
    found: Pixels = decoded.permute(1, 2, 0).numpy()
    return found


@functools.cache
def load_jpeg_operator() -> None:
    """From torchvision's library for images alone, if it lies where it is expected: to import all takes seconds.

    `ImportError` without torchvision; without the library the operator is not there.
    """
    found = importlib.util.find_spec("torchvision")
    folders = found.submodule_search_locations if found else None
    libraries = sorted(path for folder in folders or () for path in Path(folder).glob("image*.so"))
    try:
        torch.ops.load_library(str(libraries[0]))  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    except (IndexError, OSError):
        importlib.import_module("torchvision.io")


@functools.cache
def torchvision_agrees() -> bool:
    """Whether torchvision's libjpeg gives Pillow's pixels for images of each kind of sampling and coding."""
    wave = np.add.outer(np.arange(83) ** 2 // 5, np.arange(101) * 7)
    image = Image.fromarray(np.stack([wave % 256, wave * 3 % 251, wave[::-1] // 3 % 256], axis=2).astype(np.uint8))
    return all(
        agrees(picture, subsampling=subsampling, progressive=progressive)
        for picture in (image, image.convert("L"))
        for subsampling in (0, 1, 2)
        for progressive in (False, True)
    )


def agrees(picture: Image.Image, **options: int) -> bool:
    encoded = io.BytesIO()
    picture.save(encoded, "JPEG", quality=83, **options)
    try:
        found = decode_by_torchvision(encoded.getvalue())
    except (ImportError, AttributeError, RuntimeError):  # a torchvision without the operator, or without libjpeg
        return False
    return np.array_equal(found, np.asarray(pixels.decode_image(encoded, "the probe image")))


def decode_reduced(content: bytes, name: str, factor: int) -> Image.Image:
    """A plain JPEG at 1 / `factor` of its width and height, rounded up; `factor`: one of `JPEG_FACTORS`."""
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
            width, height = image.size
            image.draft("RGB", (max(1, width // factor), max(1, height // factor)))
            return image.convert("RGB")
    except Exception as error:  # as above
        raise DataError(f"{name} could not be decoded as an image; replace or remove it") from error


def factor_below(ratio: float) -> int:
    """The largest of `JPEG_FACTORS` that is no larger than `ratio`, or 1."""
    return next((factor for factor in JPEG_FACTORS if factor <= ratio), 1)


def decoder_identity(mode: DecodeMode) -> str:
    """What decides on the pixels of an encoded image, for keys: Pillow and libjpeg, without patch levels, and mode."""
    turbo = features.version_feature("libjpeg_turbo") if features.check_feature("libjpeg_turbo") else None
    jpeg = f"libjpeg-turbo {short(turbo)}" if turbo else f"libjpeg {short(str(features.version_codec('jpg')))}"
    return f"pillow {short(PIL.__version__, 1)}, {jpeg}, {mode}"


def short(version: str, numbers: int = 2) -> str:
    return ".".join(re.findall(r"\d+", version)[:numbers])
