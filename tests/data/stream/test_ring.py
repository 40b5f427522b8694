"""Which batch is decoded next, and which makes way for it: by hand, with batches of one image."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from automl_kd.data.stream.ring import BATCHES_AHEAD, Cursor, Ring, RingStream
from automl_kd.data.stream.sequence import BatchSequence
from automl_kd.data.stream.slots import LocalSlot
from automl_kd.data.stream.source import StreamSource
from tests.data.stream.samples import encoded_images, reader_of

VIEW = 3 * 20 * 16


def source_of(folder: Path, *, seed: int = 3, fixed: bool = False, steps: int = 30) -> StreamSource:
    """Of batches of one image."""
    views = reader_of(encoded_images(folder, 30)).views
    sequence = BatchSequence(30, None if fixed else seed, 4, 1, steps, fixed)
    return StreamSource.of(views, sequence, cache_bytes=0, folder="")


def ring_of(batches: int, *, keep_passed: bool = False) -> Ring:
    return Ring(batches * VIEW, LocalSlot.create, keep_passed=keep_passed)


def add(ring: Ring, source: StreamSource, *positions: int | None) -> RingStream:
    stream = ring.streams.setdefault(source.key, RingStream.of(source))
    stream.cursors += [Cursor(stream, position) for position in positions]
    return stream


def decode(ring: Ring, most: int = 100) -> list[int]:
    """The numbers of the batches that are decoded until there is nothing to do."""
    numbers: list[int] = []
    while len(numbers) < most and (found := ring.next_batch()) is not None:
        stream, batch = found
        batch.todo.clear()
        stream.turn += 1
        numbers.append(batch.number)
    return numbers


def test_batches_ahead_of_a_reader_are_decoded_in_their_order(tmp_path):
    ring = ring_of(20)
    add(ring, source_of(tmp_path), 4)
    assert decode(ring) == list(range(4, 4 + BATCHES_AHEAD))


def test_nothing_is_decoded_before_a_reader_has_asked(tmp_path):
    ring = ring_of(20)
    add(ring, source_of(tmp_path), None)
    assert decode(ring) == []


def test_readers_at_one_place_share_their_batches(tmp_path):
    ring = ring_of(20)
    add(ring, source_of(tmp_path), 4, 4, 5)
    assert sorted(decode(ring)) == list(range(4, 5 + BATCHES_AHEAD))


def test_what_is_waited_for_comes_first(tmp_path):
    ring = ring_of(20)
    stream = add(ring, source_of(tmp_path), 4)
    stream.cursors[0].waiting = 7
    assert decode(ring)[:3] == [7, 4, 5]


def test_streams_take_turns(tmp_path):
    ring = ring_of(20)
    (tmp_path / "a").mkdir()
    for seed in (1, 2):
        add(ring, source_of(tmp_path / "a", seed=seed), 0)
    assert decode(ring)[:6] == [0, 0, 1, 1, 2, 2]


def test_the_ring_holds_no_more_than_its_limit(tmp_path):
    ring = ring_of(5)
    stream = add(ring, source_of(tmp_path), 4)
    assert decode(ring) == [4, 5, 6, 7, 8]
    assert sorted(stream.batches) == [4, 5, 6, 7, 8]


def test_a_batch_that_was_passed_makes_way(tmp_path):
    ring = ring_of(5, keep_passed=True)
    stream = add(ring, source_of(tmp_path), 4)
    decode(ring)
    stream.cursors[0].position = 7
    assert decode(ring) == [9, 10, 11]
    assert sorted(stream.batches) == [7, 8, 9, 10, 11]


def test_the_reader_furthest_behind_loses(tmp_path):
    ring = ring_of(6)
    stream = add(ring, source_of(tmp_path), 0, 12)
    decode(ring)
    # each has three: what is needed in 0, 1 and 2
    assert sorted(stream.batches) == [0, 1, 2, 12, 13, 14]


def test_a_batch_makes_way_only_for_one_needed_sooner(tmp_path):
    ring = ring_of(3)
    stream = add(ring, source_of(tmp_path), 0, 1)
    assert sorted(decode(ring)) == [0, 1, 2]
    assert ring.next_batch() is None
    assert sorted(stream.batches) == [0, 1, 2]


def test_nothing_that_a_thread_works_on_makes_way(tmp_path):
    ring = ring_of(2)
    stream = add(ring, source_of(tmp_path), 4)
    decode(ring)
    for batch in stream.batches.values():
        batch.active = 1
    stream.cursors[0].waiting = stream.cursors[0].position = 20
    assert decode(ring) == []
    stream.batches[4].active = 0
    assert decode(ring) == [20]


def test_a_ring_of_one_trial_forgets_what_was_passed(tmp_path):
    ring = ring_of(20)
    stream = add(ring, source_of(tmp_path), 4)
    decode(ring)
    stream.cursors[0].position = 8
    ring.drop_passed(stream)
    assert min(stream.batches) == 7


def test_batches_that_come_round_are_decoded_once(tmp_path):
    ring = ring_of(20)
    stream = add(ring, source_of(tmp_path, fixed=True, steps=3), 2)
    assert decode(ring) == [2, 0, 1]
    stream.cursors[0].position = 0
    assert decode(ring) == []


def test_the_files_that_are_open_have_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr("automl_kd.data.stream.ring.MOST_BATCHES", 3)
    ring = ring_of(20)
    add(ring, source_of(tmp_path), 4)
    assert decode(ring) == [4, 5, 6]


def test_a_slot_for_which_there_is_no_memory_is_done_without_one(tmp_path):
    def refuse(images: int, size: int) -> LocalSlot:
        raise OSError("no memory")

    ring = Ring(20 * VIEW, refuse, keep_passed=False)
    add(ring, source_of(tmp_path), 4)
    found = ring.next_batch()
    assert found is not None
    assert found[1].done
    assert found[1].slot is None
    assert np.array_equal(found[1].failed, [0])
