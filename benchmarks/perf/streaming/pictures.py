"""JPEG images for measurements: those of a folder or a Parquet file, or drawn ones; and as many files as are wanted.

Each copy of an image has a remark with its number, so that all differ in bytes and none in what there is to decode.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image

MOST = 500
"""Different images that are read or drawn."""


def encoded_pictures(given: Path | None, side: int, *, count: int = MOST) -> list[bytes]:
    """At most `count` JPEG images with the shorter side `side`, or as they are for 0; drawn if no path is given."""
    if given is None:
        rng = np.random.default_rng(0)
        return [draw_jpeg(rng, side or 375) for _ in range(count)]
    if given.is_file():
        import pandas as pd  # noqa: PLC0415  # seconds to import, which readers of nothing but files need not wait

        contents = pd.read_parquet(given, columns=["jpeg"])["jpeg"].tolist()[:count]
    else:
        paths = sorted(path for path in given.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg"})
        contents = [path.read_bytes() for path in paths[:: max(1, len(paths) // count)][:count]]
    if not contents:
        raise SystemExit(f"{given} has no JPEG images; give a folder or a Parquet file with some")
    return [reduce_jpeg(content, side) for content in contents] if side else contents


def draw_jpeg(rng: np.random.Generator, side: int) -> bytes:
    """A smooth picture of `side` times 4 / 3 * `side` pixels with noise, of about as many bytes as a photograph."""
    size = (side * 4 // 3, side)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    noisy = np.asarray(coarse).astype(np.int16) + rng.integers(-12, 13, (size[1], size[0], 1), dtype=np.int16)
    return to_jpeg(Image.fromarray(noisy.clip(0, 255).astype(np.uint8)))


def reduce_jpeg(content: bytes, side: int) -> bytes:
    with Image.open(io.BytesIO(content)) as image:
        factor = side / min(image.size)
        size = (max(side, round(image.width * factor)), max(side, round(image.height * factor)))
        return to_jpeg(image.convert("RGB").resize(size, Image.Resampling.BILINEAR))


def to_jpeg(image: Image.Image) -> bytes:
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=85)
    return encoded.getvalue()


def numbered(content: bytes, number: int) -> bytes:
    """The same JPEG with a remark behind its first marker."""
    return content[:2] + b"\xff\xfe\x00\x0a" + number.to_bytes(8, "big") + content[2:]


def write_classes(top: Path, contents: list[bytes], count: int, classes: int) -> None:
    """`count` different files in `classes` folders."""
    for label in range(classes):
        (top / f"{label:04d}").mkdir(parents=True, exist_ok=True)
    for number in range(count):
        content = numbered(contents[number % len(contents)], number)
        (top / f"{number % classes:04d}" / f"{number:07d}.jpg").write_bytes(content)


def link_classes(top: Path, contents: list[bytes], count: int, classes: int) -> None:
    """`count` names in `classes` folders for a few files, or copies where the file system has no such links."""
    originals = [top.parent / f"{top.name}-{number}.jpg" for number in range(len(contents))]
    for path, content in zip(originals, contents, strict=True):
        path.write_bytes(content)
    for label in range(classes):
        (top / f"{label:04d}").mkdir(parents=True, exist_ok=True)
    for number in range(count):
        name, place = top / f"{number % classes:04d}" / f"{number:07d}.jpg", number % len(contents)
        try:
            os.link(originals[place], name)
        except OSError:
            name.write_bytes(contents[place])
