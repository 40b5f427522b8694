"""A source of encoded images as a pack, its bytes as they are or its images reduced."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from automl_kd.data.encoded.checked import encoded_parts
from automl_kd.data.encoded.packing import PackedImage, PackPlan, write_pack
from automl_kd.data.encoded.ranges import WHOLE_FILE, EncodedImages
from automl_kd.data.encoded.scan import ScanProgress, find_flaw
from automl_kd.data.images.layout import Kind
from automl_kd.data.images.pixels import decode_image, is_deep
from automl_kd.data.kept import hashed
from automl_kd.data.source import Source, list_paths
from automl_kd.errors import DataError
from automl_kd.spec.data import OnError

PACKING_THREADS = os.cpu_count() or 1
PACKING_CHUNK = 64

Reducer = Callable[[EncodedImages, int, bytes], bytes]


def pack_source(
    source: Source,
    name: str,
    out: Path,
    *,
    shorter_side: int = 0,
    quality: int = 95,
    on_error: OnError = "fail",
    notify: ScanProgress = lambda _done, _of: None,
) -> None:
    """Make `out` a pack of `source`, which is called `name`; errors as of `write_pack`.

    `shorter_side`: pixels to which the shorter side of larger images is reduced, which are then JPEG of `quality` (1 to
    100); smaller images, and those of more than 8 bits, stay as they are. 0 packs all as they are. `on_error`: whether
    a flawed image ends the packing or is left out.
    """
    kinds: tuple[Kind, ...] = ("training", "validation", "test")
    parts = [(kind, images) for kind in kinds if (images := part_of(source, kind))]
    if not parts:
        raise DataError(f"{name} is no set of encoded images; pack a folder, shards or Parquet files")
    reduced = {"shorter_side": shorter_side, "quality": quality} if shorter_side else {}
    counts = {kind: len(images) for kind, images in parts}
    stamp = hashed((reduced, counts, source.class_names), list_paths(source.files))

    def reduce(images: EncodedImages, row: int, content: bytes) -> bytes:
        return reduce_image(images, row, content, shorter_side, quality) if shorter_side else content

    plan = PackPlan(
        read=lambda first: read_parts([images for _, images in parts], first, reduce, on_error),
        counts=counts,
        stamp=stamp,
        needed=0 if shorter_side else sum(encoded_bytes(images) for _, images in parts),
        on_error=on_error,
        class_names=source.class_names,
        made={kind: source.made[kind] for kind in counts if kind in source.made},
        passed_over=source.passed_over,
        about={"source": name, **reduced},
    )
    write_pack(out, plan, notify)


def part_of(source: Source, kind: Kind) -> EncodedImages | None:
    part = encoded_parts(source).get(kind)
    return None if part is None else part.encoded


def encoded_bytes(images: EncodedImages) -> int:
    whole = np.flatnonzero(images.length == WHOLE_FILE)
    stated = int(images.length[images.length != WHOLE_FILE].sum())
    return stated + sum(images.path(row).stat().st_size for row in whole.tolist())


def read_parts(parts: list[EncodedImages], first: int, reduce: Reducer, on_error: OnError) -> Iterator[PackedImage]:
    def one(images: EncodedImages, row: int) -> PackedImage:
        label, called = int(images.labels[row]), images.called(row)
        try:
            content = images.read(row)
            return content if find_flaw(content) else reduce(images, row, content), label, called
        except DataError:
            if on_error == "fail":
                raise
            return None, label, called

    with ThreadPoolExecutor(PACKING_THREADS) as pool:
        for images in parts:
            for begin in range(first, len(images), PACKING_CHUNK):
                rows = range(begin, min(begin + PACKING_CHUNK, len(images)))
                yield from pool.map(one, [images] * len(rows), rows)
            first = max(0, first - len(images))


def reduce_image(images: EncodedImages, row: int, content: bytes, shorter_side: int, quality: int) -> bytes:
    """The image with its shorter side of so many pixels, as JPEG; its own bytes if that is not larger."""
    with Image.open(io.BytesIO(content)) as image:
        small = min(image.size) <= shorter_side
    if small or is_deep(images, row):
        return content
    picture = decode_image(io.BytesIO(content), images.called(row))
    scale = shorter_side / min(picture.size)
    width, height = (max(shorter_side, round(one * scale)) for one in picture.size)
    written = io.BytesIO()
    picture.resize((width, height), Image.Resampling.BICUBIC).save(written, "JPEG", quality=quality)
    return written.getvalue()
