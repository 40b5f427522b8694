"""The batches of all epochs in the order in which training asks for them, numbered through."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch

from automl_kd.data.order import epoch_order
from automl_kd.data.stream.render import RowNumbers

ORDERS_KEPT = 3
"""Epochs whose order is kept: the teacher cache may be in the next one, an interrupted run in the one before."""


@dataclass(frozen=True)
class BatchSequence:
    """Batch `step` of `epoch` has number epoch * steps + step.

    `count`: images. `order_seed`: of `views.epoch_order`; None for the rows as they lie. `view_seed`: of the crops.
    `steps`: batches of an epoch; the last one may have fewer images than `batch_size`.
    `fixed`: all epochs have the same batches, so that those of the first one stand for all.
    """

    count: int
    order_seed: int | None
    view_seed: int
    batch_size: int
    steps: int
    fixed: bool

    def __post_init__(self) -> None:
        most = -(-self.count // self.batch_size) if self.batch_size > 0 else 0
        if not 0 < self.steps <= most:
            raise ValueError(
                f"{self.count} images have at most {most} batches of {self.batch_size}, got steps = {self.steps}"
            )

    def rows(self, number: int) -> RowNumbers:
        """The rows of batch `number`, in their order."""
        epoch, step = divmod(number, self.steps)
        begin = step * self.batch_size
        end = min(begin + self.batch_size, self.count)
        if self.order_seed is None:
            return np.arange(begin, end)
        return rows_of_epoch(self.count, self.order_seed, epoch)[begin:end].astype(np.int64)

    def locate(self, rows: RowNumbers, epoch: int) -> tuple[int, RowNumbers] | None:
        """The number of the batch that holds all `rows` in `epoch`, and where they lie in it; None if none does."""
        if not len(rows):
            return None
        if self.order_seed is not None:
            rows = places_of_epoch(self.count, self.order_seed, epoch)[rows].astype(np.int64)
        step = int(rows[0]) // self.batch_size
        within = rows - step * self.batch_size
        if step >= self.steps or within.min() < 0 or within.max() >= self.batch_size:
            return None
        return (0 if self.fixed else epoch) * self.steps + step, within

    def epoch(self, number: int) -> int:
        return number // self.steps

    def after(self, number: int, batches: int) -> int:
        """The number of the batch that comes so many later."""
        return (number + batches) % self.steps if self.fixed else number + batches

    def distance(self, number: int, later: int) -> int:
        """How many batches `later` comes after `number`; below 0 if it came before."""
        return (later - number) % self.steps if self.fixed else later - number


@functools.lru_cache(ORDERS_KEPT)
def rows_of_epoch(count: int, seed: int, epoch: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return epoch_order(count, seed=seed, epoch=epoch).to(torch.int32).numpy()


@functools.lru_cache(ORDERS_KEPT)
def places_of_epoch(count: int, seed: int, epoch: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """Where each row stands in the order of an epoch."""
    places = np.empty(count, np.int32)
    places[rows_of_epoch(count, seed, epoch)] = np.arange(count, dtype=np.int32)
    return places
