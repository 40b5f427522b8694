"""The decoded batches that are held, those that readers will ask for next, and which of them makes way for another.

A batch that somebody waits for comes first, then the one that is needed soonest, and among equals that of the stream
whose turn is longest ago. Where the ring is full, the batch that is needed last makes way for one needed sooner: a
reader that is far behind the others then has its batches decoded again.

Nothing here locks; `engine` does.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias

from automl_kd.data.stream.epochs import EpochFiles
from automl_kd.data.stream.render import RowNumbers
from automl_kd.data.stream.slots import Slot
from automl_kd.data.stream.source import StreamSource

BATCHES_AHEAD = 8
"""Batches that are decoded ahead of a reader."""
CHUNK = 8
"""Images that a thread decodes at a time."""
MOST_BATCHES = 256
"""That are held, as each may be an open file."""
DECODED_KNOWN = 100_000
"""Batches of a stream that are known to have been decoded before."""
WAITED_FOR = -1
"""When a batch is needed for which a reader waits."""

MakeSlot: TypeAlias = Callable[[int, int], Slot]
"""Of the number of images and the bytes of each."""


class BatchCost(NamedTuple):
    """Images of a batch that were decoded, of those decoded before, and read from the disk."""

    decoded: int = 0
    decoded_again: int = 0
    from_disk: int = 0


@dataclass(eq=False)
class RingBatch:
    """`slot`: None where there was no memory for one. `todo`: begin and end of the images that no thread has taken;
    `parts`: these while the disk is searched; `active`: threads at work; `look`: whether the disk may have the views.
    `decoded`: images that were tried, `failed`: those that could not be decoded. `cost`: until a reader has taken it.
    """

    number: int
    rows: RowNumbers
    slot: Slot | None
    size: int
    todo: deque[tuple[int, int]]
    look: bool
    active: int = 0
    decoded: int = 0
    parts: list[tuple[int, int]] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    cost: BatchCost = field(default_factory=BatchCost)

    @property
    def done(self) -> bool:
        return not self.todo and not self.active


@dataclass(eq=False)
class RingStream:
    """`decoded`: numbers of the batches that have been decoded. `turn`: when a thread last worked on it."""

    source: StreamSource
    disk: EpochFiles | None
    batches: dict[int, RingBatch] = field(default_factory=dict)
    cursors: list[Cursor] = field(default_factory=list)
    decoded: set[int] = field(default_factory=set)
    turn: int = 0

    @staticmethod
    def of(source: StreamSource) -> RingStream:
        if not source.cache_bytes:
            return RingStream(source, None)
        steps, size = source.sequence.steps, source.batch_bytes
        folder = Path(source.folder)
        return RingStream(
            source, EpochFiles(folder, source.key, steps=steps, batch_bytes=size, limit=source.cache_bytes)
        )

    def needed_in(self, number: int) -> float:
        """Batches until a reader needs this one; infinite if all have passed it."""
        if any(cursor.waiting == number for cursor in self.cursors):
            return WAITED_FOR
        places = (cursor.position for cursor in self.cursors if cursor.position is not None)
        ahead = (self.source.sequence.distance(place, number) for place in places)
        return min((distance for distance in ahead if distance >= 0), default=math.inf)

    def ahead_of(self, cursor: Cursor) -> Iterator[tuple[int, int]]:
        """When the reader needs it, and number, of each batch that is to be ready for it."""
        if cursor.waiting is not None:
            yield WAITED_FOR, cursor.waiting
        if cursor.position is not None:
            sequence = self.source.sequence
            for distance in range(min(BATCHES_AHEAD, sequence.steps) if sequence.fixed else BATCHES_AHEAD):
                yield distance, sequence.after(cursor.position, distance)

    def first_undone(self, cursor: Cursor) -> tuple[int, int] | None:
        """The first of `ahead_of` on which a thread may work."""
        for needed, number in self.ahead_of(cursor):
            batch = self.batches.get(number)
            if batch is None or batch.todo:
                return needed, number
        return None

    def begin(self, number: int, make_slot: MakeSlot) -> RingBatch:
        rows, size = self.source.sequence.rows(number), self.source.view_bytes
        try:
            slot: Slot | None = make_slot(len(rows), size)
        except OSError:  # no memory, or no file that could be opened; readers decode for themselves
            slot = None
        begins = range(0, len(rows) if slot else 0, CHUNK)
        todo = deque((begin, min(begin + CHUNK, len(rows))) for begin in begins)
        batch = RingBatch(number, rows, slot, len(rows) * size, todo, look=self.disk is not None)
        batch.failed = [] if slot else list(range(len(rows)))
        self.batches[number] = batch
        return batch

    def note_decoded(self, number: int) -> bool:
        """Whether the batch had been decoded before."""
        before = number in self.decoded
        if len(self.decoded) > DECODED_KNOWN:
            self.decoded.clear()
        self.decoded.add(number)
        return before


@dataclass(eq=False)
class Cursor:
    """One reader of a stream: the batch that it needs next, and the one for which it waits."""

    stream: RingStream
    position: int | None = None
    waiting: int | None = None


class Ring:
    """The batches of all streams, of `limit` bytes together. `keep_passed`: also those that all readers have passed."""

    def __init__(self, limit: int, make_slot: MakeSlot, *, keep_passed: bool) -> None:
        self.limit, self.make_slot, self.keep_passed = limit, make_slot, keep_passed
        self.streams: dict[str, RingStream] = {}

    def next_batch(self) -> tuple[RingStream, RingBatch] | None:
        """On which a thread should work now, if any."""
        wanted = [
            (found[0], stream.turn, place, found[1], stream)
            for place, stream in enumerate(self.streams.values())
            for cursor in stream.cursors
            if (found := stream.first_undone(cursor)) is not None
        ]
        for needed, _, _, number, stream in sorted(wanted, key=lambda one: one[:3]):
            if number in stream.batches:
                return stream, stream.batches[number]
            if self.make_room(stream.source.batch_bytes, needed):
                batch = stream.begin(number, self.make_slot)
                return stream, batch
        return None

    def make_room(self, size: int, needed: float) -> bool:
        """Whether a batch of `size` bytes that is needed in `needed` fits, once others needed later are gone."""
        held = [(stream, batch) for stream in self.streams.values() for batch in stream.batches.values()]
        room, count = self.limit - sum(batch.size for _, batch in held), len(held)
        idle = [(stream.needed_in(batch.number), stream, batch) for stream, batch in held if not batch.active]
        # Of those that all have passed, the lowest number goes first, of others the one that is needed last.
        idle.sort(key=lambda one: (-one[0], one[2].number))
        for last, stream, batch in idle:
            if room >= size and count < MOST_BATCHES:
                break
            if last <= needed:
                return False
            del stream.batches[batch.number]
            room, count = room + batch.size, count - 1
        return room >= size and count < MOST_BATCHES

    def drop_passed(self, stream: RingStream) -> None:
        """Forget the batches that all have passed, but for the last, which a trial may read twice."""
        if self.keep_passed:
            return
        passed = [n for n, batch in stream.batches.items() if not batch.active and math.isinf(stream.needed_in(n))]
        for number in sorted(passed)[:-1]:
            del stream.batches[number]
