"""Moves a teacher's outputs, and the time of its pass, from the device to the disk without waiting for the device.

On a GPU the pass and the copy to pinned memory are queued like all else; an event marks when they are done. Elsewhere
both are done at once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import torch

from automl_kd.teacher_cache.store import Kept, TeacherCacheStore, TensorForm

MAX_IN_FLIGHT = 4
"""Batches that may be on their way; the oldest of more is waited for."""


class Moment:
    """A point in the work of a device."""

    def __init__(self, device: torch.device) -> None:
        self.time = time.monotonic()
        self.event: Any = None
        if device.type == "cuda":
            self.event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch's
            self.event.record(torch.cuda.current_stream(device))

    def passed(self) -> bool:
        return self.event is None or bool(self.event.query())

    def seconds_since(self, earlier: Moment) -> float:
        """Waits until this moment has passed."""
        if self.event is None or earlier.event is None:
            return self.time - earlier.time
        self.event.synchronize()
        return float(earlier.event.elapsed_time(self.event)) / 1e3


@dataclass(frozen=True, eq=False)
class Underway:
    """One batch: its number, its tensors in the processor's memory once the copy is done, between which moments."""

    number: int
    kept: Kept
    begun: Moment
    ended: Moment
    copied: Moment
    ahead: bool


@dataclass(frozen=True)
class Landed:
    """`written`: whether there was room. `seconds`: of the pass. `ahead`: as it was sent."""

    written: bool
    seconds: float
    ahead: bool


@dataclass
class Transfer:
    """Batches on their way to one file of a cache, the oldest first."""

    store: TeacherCacheStore
    underway: list[Underway] = field(default_factory=list)

    def send(self, number: int, kept: Kept, begun: Moment, device: torch.device, *, ahead: bool) -> list[Landed]:
        """Begin with a batch that was asked for at the moment `begun`; those that have arrived are written."""
        ended = Moment(device)
        host = {name: on_processor(value) for name, value in kept.items()}
        self.underway.append(Underway(number, host, begun, ended, Moment(device), ahead))
        return self.land(MAX_IN_FLIGHT)

    def land(self, most: int = 0) -> list[Landed]:
        """Write what has arrived, and wait for the oldest until at most `most` are on their way."""
        landed = []
        while self.underway and (len(self.underway) > most or self.underway[0].copied.passed()):
            one = self.underway.pop(0)
            one.copied.seconds_since(one.ended)  # waits for the copy
            seconds = one.ended.seconds_since(one.begun)
            landed.append(Landed(self.store.write(one.number, one.kept, seconds), seconds, one.ahead))
            self.store.release(one.number)
        return landed


def on_processor(value: torch.Tensor) -> torch.Tensor:
    """The same, or a copy that is complete once the device has come so far; it lies as the original does."""
    if value.device.type != "cuda":
        return value.cpu()
    return TensorForm.of(value).empty(len(value), pinned=True).copy_(value, non_blocking=True)
