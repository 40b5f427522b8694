"""How batches are cut for a pool, without one."""

from __future__ import annotations

from automl_kd.cluster.scoring_pool import split_batches
from automl_kd.space import Architecture

ARCHITECTURES = [Architecture.of({"width": number}) for number in range(50)]
BATCHES = [ARCHITECTURES[start : start + 8] for start in range(0, 50, 8)]


def test_the_last_batches_of_each_worker_are_read_one_by_one():
    pieces = split_batches(BATCHES, workers=2)
    # Seven batches, the last of two: the last four are cut up.
    assert [(piece.number, piece.place, len(piece.architectures)) for piece in pieces] == [
        *((number, 0, 8) for number in range(3)),
        *((number, place, 1) for number in range(3, 6) for place in range(8)),
        *((6, place, 1) for place in range(2)),
    ]
    assert [one for piece in pieces for one in piece.architectures] == ARCHITECTURES


def test_few_batches_are_cut_up_altogether():
    assert [len(piece.architectures) for piece in split_batches(BATCHES[:2], workers=8)] == [1] * 16
