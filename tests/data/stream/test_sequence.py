"""Batches are numbered through, and found by the rows that they hold."""

from __future__ import annotations

import numpy as np
import pytest

from automl_kd.data.order import epoch_order
from automl_kd.data.stream.sequence import BatchSequence

SEQUENCE = BatchSequence(50, 3, 4, 8, 6, fixed=False)


def test_batches_are_parts_of_the_order_of_their_epoch():
    for number in (0, 5, 6, 17):
        epoch, step = divmod(number, 6)
        order = epoch_order(50, seed=3, epoch=epoch)
        assert SEQUENCE.rows(number).tolist() == order[8 * step : 8 * step + 8].tolist()


def test_the_last_batch_may_be_smaller():
    assert BatchSequence(50, None, 0, 8, 7, fixed=True).rows(6).tolist() == [48, 49]


@pytest.mark.parametrize("sequence", [SEQUENCE, BatchSequence(50, None, 0, 8, 7, fixed=True)])
def test_any_part_of_a_batch_is_found_in_any_order(sequence):
    rng = np.random.default_rng(0)
    for epoch in (0, 2):
        for step in range(sequence.steps):
            number = step if sequence.fixed else epoch * sequence.steps + step
            rows = sequence.rows(number)
            for part in (rows, rows[1:2], rng.permutation(rows)[:5]):
                found, places = sequence.locate(part, epoch)
                assert found == number
                assert rows[places].tolist() == part.tolist()


def test_rows_of_no_batch_are_not_found():
    order = epoch_order(50, seed=3, epoch=1).numpy()
    assert SEQUENCE.locate(order[7:9], 1) is None  # of two batches
    assert SEQUENCE.locate(order[48:], 1) is None  # behind the last whole one
    assert SEQUENCE.locate(order[:8], 2) is None  # of another epoch
    assert SEQUENCE.locate(order[:0], 1) is None


def test_fixed_batches_come_round():
    fixed = BatchSequence(50, None, 0, 8, 7, fixed=True)
    assert [fixed.after(5, ahead) for ahead in range(4)] == [5, 6, 0, 1]
    assert fixed.distance(5, 1) == 3
    assert SEQUENCE.after(5, 3) == 8
    assert SEQUENCE.distance(8, 5) == -3


@pytest.mark.parametrize(("batch", "steps"), [(0, 1), (8, 8), (8, 0), (51, 2)])
def test_more_batches_than_there_are_images_for_are_refused(batch, steps):
    with pytest.raises(ValueError, match="50 images have at most"):
        BatchSequence(50, 0, 0, batch, steps, fixed=False)
