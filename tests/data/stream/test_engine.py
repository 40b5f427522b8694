"""Threads decode each batch once for all readers that keep step, and again for those that do not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from automl_kd.data.stream.engine import Engine
from automl_kd.data.stream.ring import BatchCost, Cursor
from automl_kd.data.stream.sequence import BatchSequence
from automl_kd.data.stream.slots import LocalSlot, SharedSlot
from automl_kd.data.stream.source import StreamSource
from tests.data.stream.samples import BATCH, CROPS, STEPS, Expected, encoded_images, reader_of

BATCH_BYTES = BATCH * 3 * CROPS.height * CROPS.width


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return encoded_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def expected(images):
    return Expected(images)


def source_of(images, *, folder: str = "") -> StreamSource:
    sequence = BatchSequence(len(images), 3, 4, BATCH, STEPS, fixed=False)
    return StreamSource.of(reader_of(images).views, sequence, cache_bytes=10**9 if folder else 0, folder=folder)


@pytest.fixture(params=[1, 4], ids=["1 thread", "4 threads"])
def engine(request) -> Iterator[Engine]:
    engine = Engine(request.param, 30 * BATCH_BYTES, LocalSlot.create, keep_passed=True)
    yield engine
    engine.close()
    assert not any(thread.is_alive() for thread in engine.threads)


def require_batch(engine: Engine, cursor: Cursor, number: int, expected: Expected) -> BatchCost:
    batch = engine.request(cursor, number)
    assert batch is not None
    assert batch.slot is not None
    out = np.empty((BATCH, BATCH_BYTES // BATCH), np.uint8)
    batch.slot.read(np.arange(BATCH), out)
    assert out.tobytes() == expected[number].numpy().tobytes(), number
    return engine.take_cost(batch)


def total(costs: list[BatchCost]) -> BatchCost:
    return BatchCost(*(sum(parts) for parts in zip(*costs, strict=True)))


@pytest.mark.parametrize("readers", [1, 4])
def test_readers_in_step_share_what_is_decoded(engine, images, expected, readers):
    cursors = [engine.join(source_of(images)) for _ in range(readers)]
    costs = [require_batch(engine, cursor, number, expected) for number in range(20) for cursor in cursors]
    assert total(costs) == BatchCost(decoded=20 * BATCH)


def test_readers_at_a_pace_of_their_own_get_the_same(engine, images, expected):
    for number in range(25):
        expected[number]

    def follow(pace: int) -> BatchCost:
        cursor = engine.join(source_of(images))
        costs = []
        for number in range(25):
            costs.append(require_batch(engine, cursor, number, expected))
            threading.Event().wait(0.001 * pace)
        engine.leave(cursor)
        return total(costs)

    with ThreadPoolExecutor(4) as pool:
        cost = total(list(pool.map(follow, range(4))))
    assert 25 * BATCH <= cost.decoded <= 100 * BATCH
    assert not engine.ring.streams


def test_a_reader_that_drifts_out_of_the_ring_is_decoded_for_again(images, expected):
    engine = Engine(2, 10 * BATCH_BYTES, LocalSlot.create, keep_passed=True)
    cursors = [engine.join(source_of(images)) for _ in range(2)]
    ahead = [require_batch(engine, cursors[0], number, expected) for number in range(40)]
    behind = [require_batch(engine, cursors[1], number, expected) for number in range(20)]
    assert total(ahead).decoded_again == 0
    assert total(behind).decoded_again == total(behind).decoded > 0
    engine.close()


@pytest.mark.parametrize("numbers", [[5, 6, 7], [20, 3, 4, 21], [0, 5, 1, 2, 3, 4, 5], [4, 4, 4], [9, 8, 7, 6]])
def test_batches_are_had_in_whatever_order(engine, images, expected, numbers):
    cursor = engine.join(source_of(images))
    costs = [require_batch(engine, cursor, number, expected) for number in numbers]
    assert total(costs) == BatchCost(decoded=len(set(numbers)) * BATCH)


def test_reading_a_batch_ahead_does_not_pass_those_before_it(images, expected):
    engine = Engine(1, 20 * BATCH_BYTES, LocalSlot.create, keep_passed=False)
    cursor = engine.join(source_of(images))
    costs = [require_batch(engine, cursor, number, expected) for number in (0, 4, 1, 2, 3, 4, 5)]
    assert total(costs) == BatchCost(decoded=6 * BATCH)
    engine.close()


def test_views_on_disk_are_not_decoded(engine, images, expected, tmp_path):
    costs = []
    for _ in range(2):
        cursor = engine.join(source_of(images, folder=str(tmp_path)))
        costs.append(total([require_batch(engine, cursor, number, expected) for number in range(STEPS)]))
        engine.leave(cursor)
    assert costs == [BatchCost(decoded=STEPS * BATCH), BatchCost(from_disk=STEPS * BATCH)]


def test_other_files_have_other_views_on_disk(images, tmp_path):
    before = source_of(images, folder=str(tmp_path)).key
    path = images.path(0)
    path.write_bytes(path.read_bytes())
    assert source_of(images, folder=str(tmp_path)).key != before


def test_an_image_that_cannot_be_decoded_leaves_the_others(engine, tmp_path):
    images = encoded_images(tmp_path)
    source = source_of(images)
    images.path(int(source.sequence.rows(2)[5])).write_bytes(b"no image")
    cursor = engine.join(source)
    batch = engine.request(cursor, 2)
    assert batch is not None
    assert batch.failed == [5]
    assert engine.request(cursor, 3) is not None


def test_a_batch_larger_than_the_ring_is_refused(images):
    engine = Engine(1, BATCH_BYTES - 1, LocalSlot.create, keep_passed=True)
    with pytest.raises(ValueError, match=f"has {BATCH_BYTES:,} bytes, more than the {BATCH_BYTES - 1:,} of the ring"):
        engine.join(source_of(images))
    engine.close()


def test_who_waits_is_answered_when_the_engine_closes(images):
    engine = Engine(0, 10 * BATCH_BYTES, LocalSlot.create, keep_passed=True)
    cursor = engine.join(source_of(images))
    assert engine.request(cursor, 0, 0.01) is None
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(engine.request, cursor, 0)
        engine.close()
        assert waiting.result() is None


def test_a_source_is_packed_into_a_file(images, expected):
    handle = source_of(images).pack()
    found = StreamSource.unpack(handle)
    assert found.key == source_of(images).key
    engine = Engine(1, 10 * BATCH_BYTES, SharedSlot.create, keep_passed=True)
    require_batch(engine, engine.join(found), 3, expected)
    engine.close()
