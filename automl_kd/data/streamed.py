"""The images of a split that are decoded as they are needed, in place of a tensor that holds all of them.

They come in the same bytes as from a tensor of the same images: the order and the views of an epoch depend on
(seed, epoch, index) alone, and decoding on the image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from automl_kd.data.encoded.ranges import EncodedImages, NumberArray
from automl_kd.data.fit import COLOURS, Fit, Size
from automl_kd.data.images.pixels import decode_image
from automl_kd.data.stream.plan import ViewPlan
from automl_kd.data.stream.reader import ViewReader
from automl_kd.data.stream.settings import LoaderSettings, LoaderStats
from automl_kd.spec import LoaderOptions

VIEWS_AT_ONCE = 256
"""Images that are decoded together where all are looked at."""

CPU = torch.device("cpu")

FEW_IMAGES = 1024
"""Fewer images are decoded sooner than a process that decodes is started."""

SAMPLE = 65_536
"""Of more images than these, evenly spaced ones are looked at for mean, deviation and depth."""


class BatchOrder(NamedTuple):
    """Batches that will be asked for: those of `views.epoch_order` under `order_seed`, or the rows as they lie (None).

    `view_seed`: of random views. `steps`: batches of an epoch.
    """

    order_seed: int | None
    view_seed: int
    batch_size: int
    steps: int


@dataclass
class Loading:
    """What streamed images took in this process since the last `take`, a trial at a time."""

    delivered: int = 0
    decoded: int = 0
    seconds: float = 0.0

    def add(self, before: LoaderStats, after: LoaderStats) -> None:
        self.delivered += after.delivered - before.delivered
        self.decoded += after.decoded - before.decoded
        self.seconds += after.seconds_waited - before.seconds_waited

    def take(self) -> dict[str, float]:
        """As metrics, for the results table; empty where no images were streamed."""
        delivered, decoded, seconds = self.delivered, self.decoded, self.seconds
        self.delivered, self.decoded, self.seconds = 0, 0, 0.0
        return dict(zip(LOADED, (delivered, decoded, seconds), strict=True)) if delivered else {}


LOADED = ("images_delivered", "images_decoded", "loader_seconds")

loading = Loading()


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
    readers: dict[tuple[ViewPlan, int], ViewReader] = field(default_factory=dict)
    followed: dict[tuple[ViewPlan, int], BatchOrder] = field(default_factory=dict)

    @staticmethod
    def of(
        encoded: EncodedImages, digests: NumberArray, index: Tensor, fit: Fit, streaming: Streaming
    ) -> StreamedImages:
        """On the processor; of their own size, which is that of the first image, where `fit` has none."""
        size = (fit.size, fit.size) if fit.size else first_size(encoded, streaming.max_value)
        return StreamedImages(encoded, digests, index, fit, size, streaming)

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self.encoded), COLOURS, *self.size))

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, rows: slice | Tensor) -> StreamedImages:
        chosen = torch.arange(len(self))[rows.cpu() if isinstance(rows, Tensor) else rows]
        encoded, digests = self.encoded.take(chosen.numpy()), self.digests[chosen.numpy()]
        return replace(self, encoded=encoded, digests=digests, index=self.index[chosen], readers={}, followed={})

    def to(self, device: torch.device | str) -> StreamedImages:
        return replace(self, device=torch.device(device), readers={}, followed={})

    @staticmethod
    def joined(parts: Sequence[StreamedImages]) -> StreamedImages:
        """All images of parts that are alike but for these, in their order."""
        encoded = EncodedImages.joined([one.encoded for one in parts])
        digests, index = np.concatenate([one.digests for one in parts]), torch.cat([one.index for one in parts])
        return replace(parts[0], encoded=encoded, digests=digests, index=index, readers={}, followed={})

    def middles(self, rows: Tensor, epoch: int = 0) -> Tensor:
        """The images at `rows` as they are measured; `epoch`: in whose order they are asked for."""
        return self.read(self.middle, rows, seed=0, epoch=epoch)

    def crops(self, rows: Tensor, plan: ViewPlan, *, seed: int, epoch: int, copy: int = 0) -> Tensor:
        """Random parts of the images at `rows`, drawn by (seed, epoch, index), mirrored half of the time.

        `copy`: which of several views of an image in a batch; each has a sequence of its own to `follow`.
        """
        return self.read(plan, rows, seed=seed, epoch=epoch, copy=copy)

    def follow(self, plan: ViewPlan, sequence: BatchOrder, copy: int = 0) -> None:
        """Announce the batches that will be asked for; nothing if it was said before."""
        if self.followed.get((plan, copy)) != sequence:
            self.followed[plan, copy] = sequence
            self.reader(plan, copy).follow(**sequence._asdict())

    @property
    def sample(self) -> StreamedImages:
        """All images, or of many evenly spaced ones."""
        return self if len(self) <= SAMPLE else self[torch.arange(0, len(self), -(-len(self) // SAMPLE))]

    def pieces(self) -> Iterator[Tensor]:
        """The `sample` as it is measured, some images at a time."""
        chosen = self.sample
        if len(chosen) > FEW_IMAGES:
            chosen.follow(chosen.middle, BatchOrder(None, 0, VIEWS_AT_ONCE, -(-len(chosen) // VIEWS_AT_ONCE)))
        for rows in torch.split(torch.arange(len(chosen)), VIEWS_AT_ONCE):
            yield chosen.middles(rows)

    @property
    def middle(self) -> ViewPlan:
        return ViewPlan.middle(self.size, self.fit)

    def random(self, scale: float, ratio: float) -> ViewPlan:
        """Crops of at least the part `scale` of an image's area, of which a side is at most `ratio` times the other."""
        return ViewPlan(
            *self.size,
            kind="random-resized-crop",
            interpolation=self.fit.interpolation,
            scale=(scale, 1.0),
            ratio=(1 / ratio, ratio),
        )

    def read(self, plan: ViewPlan, rows: Tensor, *, seed: int, epoch: int, copy: int = 0) -> Tensor:
        reader = self.reader(plan, copy)
        before = reader.stats()
        found = reader.read(rows.cpu(), seed=seed, epoch=epoch)
        loading.add(before, reader.stats())
        return found.to(self.device, non_blocking=True)

    def reader(self, plan: ViewPlan, copy: int = 0) -> ViewReader:
        if (plan, copy) not in self.readers:
            streaming, loader = self.streaming, self.streaming.loader
            folder = str(streaming.cache) if loader.cache_gb else ""
            settings = LoaderSettings(**asdict(loader), folder=folder, pinned=self.device.type == "cuda")
            index, mode = self.index.numpy(), streaming.decoder
            self.readers[plan, copy] = ViewReader(self.encoded, index, plan, settings, streaming.max_value, mode)
        return self.readers[plan, copy]


def first_size(encoded: EncodedImages, max_value: float) -> Size:
    """Of the first image, as it is read, upright."""
    picture = decode_image(BytesIO(encoded.read(0)), encoded.called(0), max_value)
    return picture.height, picture.width
