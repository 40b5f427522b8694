"""Readers of image files by themselves, without a trial: what several measurements read batches from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from automl_kd.data.encoded.ranges import WHOLE_FILE, EncodedImages
from automl_kd.data.order import epoch_order
from automl_kd.data.stream.decoder import DecodeMode
from automl_kd.data.stream.plan import ViewPlan
from automl_kd.data.stream.reader import ViewReader
from automl_kd.data.stream.settings import LoaderSettings

BATCH = 32
CROPS = ViewPlan(224, 224, "random-resized-crop")


def make_reader(
    files: list[Path], plan: ViewPlan, mode: DecodeMode = "exact", *, threads: int = 1, shared: bool = False
) -> ViewReader:
    count = len(files)
    zeros = np.zeros(count, np.int64)
    images = EncodedImages.of(files, np.arange(count), zeros, zeros + WHOLE_FILE, zeros)
    reader = ViewReader(images, np.arange(count), plan, LoaderSettings(threads=threads, shared=shared), mode=mode)
    reader.follow(order_seed=0, view_seed=0, batch_size=BATCH, steps=count // BATCH)
    return reader


def batches_of(reader: ViewReader) -> Iterator[Tensor]:
    steps, epoch = len(reader) // BATCH, 0
    while True:
        order = epoch_order(len(reader), seed=0, epoch=epoch)
        for rows in torch.split(order, BATCH)[:steps]:
            yield reader.read(rows, seed=0, epoch=epoch)
        epoch += 1
