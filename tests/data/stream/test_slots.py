"""Where a batch lies: views are written one by one and read in any order."""

from __future__ import annotations

import os

import numpy as np
import pytest

from automl_kd.data.stream.slots import LocalSlot, SharedSlot, stretches

BYTES = 12


@pytest.fixture(params=[LocalSlot, SharedSlot])
def slot(request):
    return request.param.create(5, BYTES)


def numbered(place: int) -> tuple[bytes, bytes, bytes]:
    return bytes([place] * 4), bytes([place + 10] * 4), bytes([place + 20] * 4)


@pytest.mark.parametrize("places", [[0, 1, 2, 3, 4], [3], [4, 0, 1, 1], [2, 3, 0]])
def test_views_are_read_as_they_were_written(slot, places):
    for place in (3, 0, 4, 1, 2):
        slot.write(place, numbered(place))
    out = np.zeros((len(places), BYTES), np.uint8)
    slot.read(np.array(places), out)
    assert [one.tobytes() for one in out] == [b"".join(numbered(place)) for place in places]


def test_all_views_are_filled_at_once(slot):
    content = np.arange(5 * BYTES, dtype=np.uint8).reshape(5, BYTES)
    slot.fill(content)
    out = np.zeros((2, BYTES), np.uint8)
    slot.read(np.array([4, 2]), out)
    np.testing.assert_array_equal(out, content[[4, 2]])


def test_a_file_in_memory_is_closed_with_its_slot():
    slot = SharedSlot.create(5, BYTES)
    handle = slot.handle
    assert os.fstat(handle).st_size == 5 * BYTES
    del slot
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(handle)


def test_who_still_reads_a_dropped_batch_has_it_whole():
    slot = SharedSlot.create(1, BYTES)
    slot.write(0, numbered(7))
    other = SharedSlot(os.dup(slot.handle), BYTES)
    del slot
    out = np.zeros((1, BYTES), np.uint8)
    other.read(np.array([0]), out)
    assert out.tobytes() == b"".join(numbered(7))


@pytest.mark.parametrize(
    ("places", "found"), [([0, 1, 2], [(0, 3)]), ([2, 3, 0], [(0, 2), (2, 3)]), ([1, 1], [(0, 1), (1, 2)])]
)
def test_runs_are_stretches_without_a_gap(places, found):
    assert list(stretches(np.array(places))) == found
