"""The images of a split that are decoded as they are needed, in place of a tensor that holds all of them.

They come in the same bytes as from a tensor of the same images: the order and the views of an epoch depend on
(seed, epoch, index) alone, and decoding on the image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from automl_kd.data.encoded.ranges import EncodedImages, NumberArray
from automl_kd.data.fit import COLOURS, Fit, Size
from automl_kd.data.images.pixels import decode_image
from automl_kd.data.stream.plan import RandomCrop, ViewPlan
from automl_kd.data.stream.reader import ViewReader
from automl_kd.spec import LoaderOptions

PIECE = 256
"""Images that are decoded together where all are looked at."""

CPU = torch.device("cpu")

SAMPLE = 65_536
"""Of more images than these, evenly spaced ones are looked at for mean, deviation and depth."""


@dataclass(frozen=True)
class Streaming:
    """How images are streamed. `cache`: where views are kept. `decoder`, `max_value`: see `DataSpec`."""

    loader: LoaderOptions
    cache: Path
    decoder: Literal["exact", "scaled"] = "exact"
    max_value: float = 0.0


@dataclass(frozen=True, eq=False)
class StreamedImages:
    """n images of one size, of which batches are put on `device` as uint8 (batch, 3, height, width).

    `digests`: uint8 (n, 32), SHA-256 of the encoded bytes. `index`: int64 (n,), the images' numbers in their set, by
    which random views are drawn; on the CPU, as the `rows` of all methods are wherever they come from.
    """

    encoded: EncodedImages
    digests: NumberArray
    index: Tensor
    fit: Fit
    size: Size
    streaming: Streaming
    device: torch.device = CPU
    readers: dict[ViewPlan, ViewReader] = field(default_factory=dict)

    @staticmethod
    def of(
        encoded: EncodedImages, digests: NumberArray, index: Tensor, fit: Fit, streaming: Streaming
    ) -> StreamedImages:
        """On the processor; of their own size, which is that of the first image, where `fit` has none."""
        size = (fit.size, fit.size) if fit.size else size_of(encoded, streaming.max_value)
        return StreamedImages(encoded, digests, index, fit, size, streaming)

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self.encoded), COLOURS, *self.size))

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, rows: slice | Tensor) -> StreamedImages:
        chosen = torch.arange(len(self))[rows.cpu() if isinstance(rows, Tensor) else rows]
        encoded, digests = self.encoded.take(chosen.numpy()), self.digests[chosen.numpy()]
        return replace(self, encoded=encoded, digests=digests, index=self.index[chosen], readers={})

    def to(self, device: torch.device | str) -> StreamedImages:
        return replace(self, device=torch.device(device), readers={})

    @staticmethod
    def joined(parts: Sequence[StreamedImages]) -> StreamedImages:
        """All images of parts that are alike but for these, in their order."""
        encoded = EncodedImages.joined([one.encoded for one in parts])
        digests, index = np.concatenate([one.digests for one in parts]), torch.cat([one.index for one in parts])
        return replace(parts[0], encoded=encoded, digests=digests, index=index, readers={})

    def middles(self, rows: Tensor) -> Tensor:
        """The images at `rows` as they are measured."""
        return self.read(self.middle, rows)

    def crops(self, rows: Tensor, crop: RandomCrop, *, seed: int, epoch: int) -> Tensor:
        """Random parts of the images at `rows`, drawn by (seed, epoch, index), mirrored half of the time."""
        return self.read(self.random(crop), rows, seed=seed, epoch=epoch)

    def follow(self, crop: RandomCrop | None, *, order_seed: int | None, view_seed: int, batch: int) -> None:
        """Announce that the batches of epochs will be asked for in their order, or in that of rows (None)."""
        plan = self.middle if crop is None else self.random(crop)
        self.reader(plan).follow(order_seed=order_seed, view_seed=view_seed, batch_size=batch)

    def pieces(self) -> Iterator[Tensor]:
        """All images as they are measured, or of many an evenly spaced sample, some at a time."""
        step = -(-len(self) // SAMPLE)
        for rows in torch.split(torch.arange(0, len(self), step), PIECE):
            yield self.middles(rows)

    @property
    def middle(self) -> ViewPlan:
        return ViewPlan.middle(self.fit, self.size)

    def random(self, crop: RandomCrop) -> ViewPlan:
        return ViewPlan.random(crop, self.fit, self.size)

    def read(self, plan: ViewPlan, rows: Tensor, *, seed: int = 0, epoch: int = 0) -> Tensor:
        found = self.reader(plan).read(rows.cpu(), seed=seed, epoch=epoch)
        return found.to(self.device, non_blocking=True)

    def reader(self, plan: ViewPlan) -> ViewReader:
        if plan not in self.readers:
            self.readers[plan] = ViewReader(
                self.encoded, self.index.numpy(), plan, self.streaming, pinned=self.device.type == "cuda"
            )
        return self.readers[plan]


def size_of(encoded: EncodedImages, max_value: float) -> Size:
    """Of the first image, as it is read, upright."""
    picture = decode_image(BytesIO(encoded.read(0)), encoded.called(0), max_value)
    return picture.height, picture.width
