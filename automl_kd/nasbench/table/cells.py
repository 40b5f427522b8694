"""Cells of NAS-Bench-201 as the table names them: strings, operations by number, the official numbering.

Dong, Yang. NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search. 2020. arXiv:2001.00326,
section 2.1. A string gives, for each of the nodes 1 to 3, the operation on each edge from an earlier node.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from automl_kd.errors import ResultError

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = ("1<-0", "2<-0", "2<-1", "3<-0", "3<-1", "3<-2")
CELL_COUNT = len(OPERATIONS) ** len(EDGES)

OPERATION_NUMBERS = {operation: number for number, operation in enumerate(OPERATIONS)}
CELL = re.compile(r"\|(\w+)~0\|\+\|(\w+)~0\|(\w+)~1\|\+\|(\w+)~0\|(\w+)~1\|(\w+)~2\|")
PLACE_VALUES = len(OPERATIONS) ** np.arange(len(EDGES) - 1, -1, -1)


def encode(cells: Sequence[str]) -> NDArray[np.uint8]:
    """The operations of each cell as places in `OPERATIONS`, shape (cells, 6), edges in the order of `EDGES`.

    `ResultError` names the first string that is no cell.
    """
    return np.array([operation_numbers(cell) for cell in cells], dtype=np.uint8).reshape(-1, len(EDGES))


def operation_numbers(cell: str) -> list[int]:
    found = CELL.fullmatch(cell)
    try:
        return [OPERATION_NUMBERS[operation] for operation in (found.groups() if found else ("",))]
    except KeyError:
        raise ResultError(
            f"{cell!r} is no cell of NAS-Bench-201; write it as |op~0|+|op~0|op~1|+|op~0|op~1|op~2| with op one of "
            f"{', '.join(OPERATIONS)}"
        ) from None


def lexicographic_ranks(encodings: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The place of each cell in lexicographic order of its operations, 0 to 15,624."""
    found: NDArray[np.int64] = encodings @ PLACE_VALUES
    return found


@cache
def official_ranks() -> NDArray[np.int64]:
    """For each official number the cell's rank: the benchmark shuffled the list by Python's generator, seeded by 88."""
    shuffled = list(range(CELL_COUNT))
    random.Random(88).shuffle(shuffled)
    return np.array(shuffled)


def neighbour_positions(encodings: NDArray[np.uint8]) -> NDArray[np.int64]:
    """For each cell of the whole space the places in `encodings` of its 24 neighbours, which differ in one operation.

    Shape (15625, 24): edge by edge, and on each edge by operation, leaving out the cell's own.
    """
    rank = lexicographic_ranks(encodings)
    place = np.empty(CELL_COUNT, dtype=np.int64)
    place[rank] = np.arange(CELL_COUNT)
    others = np.arange(len(OPERATIONS) - 1)
    # From the cell's own operation on, every other one is one place further.
    changed = others + (others >= encodings[:, :, None])
    steps = (changed - encodings[:, :, None].astype(np.int64)) * PLACE_VALUES[None, :, None]
    return place[rank[:, None] + steps.reshape(CELL_COUNT, -1)]
