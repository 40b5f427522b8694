"""Small JPEG images, and readers of them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from automl_kd.data.encoded.ranges import WHOLE_FILE, EncodedImages
from automl_kd.data.order import epoch_order
from automl_kd.data.stream.plan import ViewPlan
from automl_kd.data.stream.reader import ViewReader
from automl_kd.data.stream.settings import LoaderSettings

COUNT, BATCH, STEPS = 50, 8, 6
CROPS = ViewPlan(20, 16, "random-resized-crop")
MIDDLES = ViewPlan(16, 16)


def picture(height: int, width: int, seed: int = 0) -> Image.Image:
    """A smooth image with noise on it, so that chroma sampling and DCT scaling matter."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)).resize((width, height), 3)
    noisy = np.asarray(coarse).astype(int) + rng.integers(-20, 21, (height, width, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def jpeg(image: Image.Image, **options: Any) -> bytes:
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", **options)
    return encoded.getvalue()


def encoded_images(folder: Path, count: int = COUNT) -> EncodedImages:
    """`count` images of sizes between 20 and 60 pixels, a file of each."""
    sizes = np.random.default_rng(1).integers(20, 61, (count, 2)).tolist()
    paths = [folder / f"{number}.jpg" for number in range(count)]
    for number, (path, (height, width)) in enumerate(zip(paths, sizes, strict=True)):
        path.write_bytes(jpeg(picture(height, width, number)))
    zeros = np.zeros(count, np.int64)
    return EncodedImages.of(paths, np.arange(count), zeros, zeros + WHOLE_FILE, zeros)


def reader_of(images: EncodedImages, plan: ViewPlan = CROPS, **settings: Any) -> ViewReader:
    """Its views are drawn by numbers other than the rows."""
    return ViewReader(images, np.arange(len(images))[::-1].copy() + 100, plan, LoaderSettings(**settings))


def rows_of(number: int, *, seed: int = 3, count: int = COUNT) -> tuple[torch.Tensor, int]:
    """Rows and epoch of batch `number` of a sequence with `BATCH` and `STEPS`."""
    epoch, step = divmod(number, STEPS)
    return epoch_order(count, seed=seed, epoch=epoch)[step * BATCH : (step + 1) * BATCH], epoch


def follow(reader: ViewReader, seed: int = 3) -> ViewReader:
    reader.follow(order_seed=seed, view_seed=4, batch_size=BATCH, steps=STEPS)
    return reader


def read(reader: ViewReader, number: int, part: slice = slice(None)) -> torch.Tensor:
    rows, epoch = rows_of(number)
    return reader.read(rows[part], seed=4, epoch=epoch)


class Expected:
    """What batches must hold: decoded on the spot, one image after the other."""

    def __init__(self, images: EncodedImages, plan: ViewPlan = CROPS) -> None:
        self.reader = reader_of(images, plan, threads=1)
        self.known: dict[int, torch.Tensor] = {}

    def __getitem__(self, number: int) -> torch.Tensor:
        if number not in self.known:
            self.known[number] = read(self.reader, number)
        return self.known[number]
