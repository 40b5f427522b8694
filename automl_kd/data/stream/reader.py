"""Reads the views of encoded images: whatever rows are asked for, and without delay those of batches that are foreseen.

The bytes of a view are the same from the helper process, from threads of this process, decoded on the spot and read
from the disk, so whatever fails is done in another way and said once.
"""

from __future__ import annotations

import json
import logging
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from automl_kd import files
from automl_kd.data.encoded.ranges import EncodedImages
from automl_kd.data.stream.client import BatchSource, HelperError, HelperSource, LocalSource
from automl_kd.data.stream.decoder import DecodeMode
from automl_kd.data.stream.plan import ViewPlan
from automl_kd.data.stream.render import RowNumbers, ViewMaker
from automl_kd.data.stream.ring import BatchCost
from automl_kd.data.stream.sequence import BatchSequence
from automl_kd.data.stream.settings import LoaderSettings, LoaderStats
from automl_kd.data.stream.slots import BatchBytes, LocalSlot, as_bytes
from automl_kd.data.stream.source import StreamSource, mode_of

logger = logging.getLogger(__name__)

IMAGES, INDEX, READER = "images", "index.npy", "reader.json"


class ViewReader:
    """Views of `images`, drawn by the numbers `index`, int64 (n,); `max_value`: as of `pixels.read_image`.

    A thread asks at a time. Pickled by value; `save` and `load` pass it on by a folder.
    """

    def __init__(
        self,
        images: EncodedImages,
        index: RowNumbers,
        plan: ViewPlan,
        settings: LoaderSettings,
        max_value: float = 0.0,
        mode: DecodeMode = "exact",
    ) -> None:
        if index.dtype != np.int64 or index.shape != (len(images),):
            raise ValueError(f"index must be int64 ({len(images)},), got {index.dtype} {index.shape}")
        self.views = ViewMaker(images, index, plan, max_value, mode_of(mode))
        self.settings = settings
        self.sequence: BatchSequence | None = None
        self.source: BatchSource | None = None
        self.pool: ThreadPoolExecutor | None = None
        self.counted = LoaderStats()
        self.closing: weakref.finalize[Any, Any] | None = None

    def __len__(self) -> int:
        return len(self.views.images)

    def __reduce__(self) -> tuple[Any, ...]:
        views = self.views
        return ViewReader, (views.images, views.index, views.plan, self.settings, views.max_value, views.mode)

    def save(self, folder: Path) -> None:
        """What `load` makes this reader of in another process, into a folder."""
        views = self.views
        views.images.save(folder / IMAGES)
        with files.replacing(folder / INDEX) as scratch, scratch.open("wb") as file:
            np.save(file, views.index)
        record = {"plan": views.plan.to_json(), "settings": self.settings.to_json()}
        files.write(folder / READER, json.dumps({**record, "max_value": views.max_value, "mode": views.mode}))

    @staticmethod
    def load(folder: Path) -> ViewReader:
        record = files.read_json(folder / READER)
        return ViewReader(
            EncodedImages.load(folder / IMAGES),
            np.load(folder / INDEX),
            ViewPlan.from_json(record["plan"]),
            LoaderSettings.from_json(record["settings"]),
            record["max_value"],
            mode_of(record["mode"]),
        )

    def follow(self, *, order_seed: int | None, view_seed: int, batch_size: int, steps: int) -> None:
        """Foresee the batches of `views.epoch_order` under `order_seed`, or of the rows as they lie if it is None.

        `view_seed`: with which they will be read. `steps`: batches of `batch_size` in an epoch.
        """
        self.stop_following()
        random = self.views.plan.random
        self.sequence = BatchSequence(
            len(self), order_seed, view_seed if random else 0, batch_size, steps, order_seed is None and not random
        )

    def read(self, rows: Tensor, *, seed: int, epoch: int) -> Tensor:
        """uint8 (len(rows), 3, height, width): the views of `rows`, int64 on the CPU, in `epoch` under `seed`.

        `DataError` names an image that cannot be read or decoded.
        """
        begun = time.monotonic()
        wanted: RowNumbers = rows.numpy()
        plan = self.views.plan
        views = torch.empty(len(wanted), 3, plan.height, plan.width, dtype=torch.uint8, pin_memory=self.settings.pinned)
        missing, cost = self.read_foreseen(wanted, as_bytes(views), seed=seed, epoch=epoch)
        self.decode_here(wanted, missing, as_bytes(views), seed=seed, epoch=epoch)
        seconds = time.monotonic() - begun
        self.counted += LoaderStats(len(wanted), cost.decoded + len(missing), *cost[1:], seconds)
        return views

    def read_foreseen(self, rows: RowNumbers, out: BatchBytes, *, seed: int, epoch: int) -> tuple[list[int], BatchCost]:
        """Fill `out` from a batch that was foreseen; which views are still missing, and what the batch took."""
        sequence, everything = self.sequence, list(range(len(rows)))
        if sequence is None or (self.views.plan.random and seed != sequence.view_seed):
            return everything, BatchCost()
        if (found := sequence.locate(rows, epoch)) is None:
            return everything, BatchCost()
        number, places = found
        try:
            return self.batches(sequence).fetch(number, places, out)
        except HelperError as error:
            logger.warning("no helper process decodes images: %s; this process decodes them itself", error)
        self.close_source()
        self.hold(LocalSource(self.describe_stream(sequence), self.settings))
        return self.batches(sequence).fetch(number, places, out)

    def batches(self, sequence: BatchSequence) -> BatchSource:
        if self.source is None:
            self.hold(HelperSource(self.describe_stream(sequence), self.settings))
        assert self.source is not None
        return self.source

    def describe_stream(self, sequence: BatchSequence) -> StreamSource:
        settings = self.settings
        return StreamSource.of(self.views, sequence, cache_bytes=settings.cache_bytes, folder=settings.folder)

    def hold(self, source: BatchSource) -> None:
        self.source, self.closing = source, weakref.finalize(self, source.close)

    def decode_here(self, rows: RowNumbers, places: list[int], out: BatchBytes, *, seed: int, epoch: int) -> None:
        """Decode the views at `places` of `rows` into `out`."""
        crops, slot = self.views.crops(seed=seed, epoch=epoch), LocalSlot(out)

        def decode(place: int) -> None:
            slot.write(place, self.views.planes(int(rows[place]), crops))

        if self.settings.workers == 1 or len(places) == 1:
            for place in places:
                decode(place)
            return
        self.pool = self.pool or ThreadPoolExecutor(self.settings.workers)
        for _ in self.pool.map(decode, places):
            pass

    def stats(self) -> LoaderStats:
        return self.counted

    def stop_following(self) -> None:
        self.close_source()
        self.sequence = None

    def close_source(self) -> None:
        if self.closing is not None:
            self.closing()
        self.source, self.closing = None, None

    def __enter__(self) -> ViewReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End what was started; a later `read` decodes on the spot."""
        self.stop_following()
        if self.pool is not None:
            self.pool.shutdown()
            self.pool = None
