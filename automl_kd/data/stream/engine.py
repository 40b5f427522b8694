"""Threads that fill the ring with decoded batches, and readers that wait for them."""

from __future__ import annotations

import threading

import numpy as np

from automl_kd.data.stream.ring import BATCHES_AHEAD, BatchCost, Cursor, MakeSlot, Ring, RingBatch, RingStream
from automl_kd.data.stream.slots import BatchBytes
from automl_kd.data.stream.source import StreamSource


class Engine:
    """`threads` that decode into a ring; `limit`, `make_slot`, `keep_passed`: as of `Ring`."""

    def __init__(self, threads: int, limit: int, make_slot: MakeSlot, *, keep_passed: bool) -> None:
        self.ring = Ring(limit, make_slot, keep_passed=keep_passed)
        self.changed = threading.Condition()
        self.closed, self.clock = False, 0
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def join(self, source: StreamSource) -> Cursor:
        """Begin to read a stream. `ValueError` if a batch of it is larger than the ring."""
        if source.batch_bytes > self.ring.limit:
            raise ValueError(f"a batch has {source.batch_bytes:,} bytes, more than the {self.ring.limit:,} of the ring")
        with self.changed:
            stream = self.ring.streams.setdefault(source.key, RingStream.of(source))
            stream.cursors.append(cursor := Cursor(stream))
            return cursor

    def leave(self, cursor: Cursor) -> None:
        with self.changed:
            cursor.stream.cursors.remove(cursor)
            if not cursor.stream.cursors:
                del self.ring.streams[cursor.stream.source.key]
            self.changed.notify_all()

    def request(self, cursor: Cursor, number: int, seconds: float | None = None) -> RingBatch | None:
        """Batch `number` once it is decoded; None if it is not after so many seconds, or the engine was closed."""
        stream, sequence = cursor.stream, cursor.stream.source.sequence
        with self.changed:
            # A batch a little ahead is read for the teacher cache, and the reader comes back to those before it.
            if cursor.position is None or not 0 <= sequence.distance(cursor.position, number) < BATCHES_AHEAD:
                cursor.position = number
            cursor.waiting = number
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.closed or is_done(stream, number), seconds)
            cursor.waiting = None
            if self.closed or not is_done(stream, number):
                return None
            batch = stream.batches[number]
            if batch.slot is None:
                del stream.batches[number]  # there may be memory another time
            if cursor.position == number:
                cursor.position = sequence.after(number, 1)
                self.ring.drop_passed(stream)
                self.changed.notify_all()
            return batch

    def take_cost(self, batch: RingBatch) -> BatchCost:
        """What the batch has cost, for the first who asks."""
        with self.changed:
            cost, batch.cost = batch.cost, BatchCost()
            return cost

    def close(self) -> None:
        """End the threads, each after the image at which it is, and forget all batches."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()
        for thread in self.threads:
            thread.join()
        self.ring.streams.clear()

    def work(self) -> None:
        while (job := self.wait_for_job()) is not None:
            stream, batch, part = job
            if part is None:
                self.look_on_disk(stream, batch)
            else:
                self.decode_part(stream, batch, *part)

    def wait_for_job(self) -> tuple[RingStream, RingBatch, tuple[int, int] | None] | None:
        """A batch and the part of its images to decode, or None to look for it on the disk; None at the end."""
        with self.changed:
            while not self.closed:
                found = self.ring.next_batch()
                if found is None:
                    self.changed.wait()
                    continue
                stream, batch = found
                self.clock += 1
                stream.turn = self.clock
                batch.active += 1
                if not batch.look:
                    return stream, batch, batch.todo.popleft()
                batch.look, batch.parts = False, list(batch.todo)
                batch.todo.clear()  # nobody decodes it meanwhile
                return stream, batch, None
        return None

    def look_on_disk(self, stream: RingStream, batch: RingBatch) -> None:
        shape = (len(batch.rows), stream.source.view_bytes)
        content = stream.disk.read(batch.number, shape) if stream.disk else None
        found = content is not None and filled(batch, content)
        with self.changed:
            batch.active -= 1
            if found:
                batch.cost = BatchCost(from_disk=len(batch.rows))
            else:
                batch.todo.extend(batch.parts)
            self.changed.notify_all()

    def decode_part(self, stream: RingStream, batch: RingBatch, begin: int, end: int) -> None:
        views, sequence = stream.source.views, stream.source.sequence
        crops = views.crops(seed=sequence.view_seed, epoch=sequence.epoch(batch.number))
        failed = []
        for place in range(begin, end):
            try:
                assert batch.slot is not None
                batch.slot.write(place, views.planes(int(batch.rows[place]), crops))
            except Exception:  # the reader decodes this image itself, and meets the error where it can be raised
                failed.append(place)
        with self.changed:
            batch.failed += failed
            batch.decoded += end - begin
            whole = batch.decoded == len(batch.rows)
        if whole:
            self.complete(stream, batch)
        with self.changed:
            batch.active -= 1
            self.changed.notify_all()

    def complete(self, stream: RingStream, batch: RingBatch) -> None:
        """Keep on disk what the last of its threads has decoded, and note what it took."""
        if stream.disk is not None and batch.slot is not None and not batch.failed:
            content = np.empty((len(batch.rows), stream.source.view_bytes), np.uint8)
            batch.slot.read(np.arange(len(content)), content)
            stream.disk.write(batch.number, content)
        with self.changed:
            again = stream.note_decoded(batch.number) and not stream.source.sequence.fixed
            batch.cost = BatchCost(decoded=batch.decoded, decoded_again=batch.decoded * again)


def is_done(stream: RingStream, number: int) -> bool:
    batch = stream.batches.get(number)
    return batch is not None and batch.done


def filled(batch: RingBatch, content: BatchBytes) -> bool:
    """Whether the batch could be given this content."""
    try:
        assert batch.slot is not None
        batch.slot.fill(content)
    except (OSError, MemoryError):
        return False
    return True
