"""How the cells of NAS-Bench-201 are written: as values, as the benchmark's strings and by its numbers.

Dong, Yang. NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search. 2020. arXiv:2001.00326,
section 2.1. The numbering is that of the published tables (NATS-Bench's topology space).
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from functools import cache

import numpy as np
import numpy.typing as npt

from automl_kd.errors import InfeasibleArchitectureError
from automl_kd.space import Values

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""In the benchmark's order, from which its numbering follows."""

EDGES = ("1<-0", "2<-0", "2<-1", "3<-0", "3<-1", "3<-2")
"""Target and source of each edge; grouped by targets, which ascend, as the sources do within a group."""

SPACE_SIZE = len(OPERATIONS) ** len(EDGES)

# A residual unit as one would draw it by hand: two 3x3 convolutions in a row, and a shortcut around them.
DEFAULT = {
    "1<-0": "nor_conv_3x3",
    "2<-0": "none",
    "2<-1": "nor_conv_3x3",
    "3<-0": "skip_connect",
    "3<-1": "none",
    "3<-2": "skip_connect",
}


def to_string(values: Values) -> str:
    """The benchmark's notation: nodes joined by "+", each with its edges as "|operation~source"."""
    nodes: dict[str, str] = {}
    for edge in EDGES:
        target, source = edge.split("<-")
        nodes[target] = nodes.get(target, "|") + f"{values[edge]}~{source}|"
    return "+".join(nodes.values())


def from_string(text: str) -> dict[str, str]:
    """The values whose `to_string` is `text`; `InfeasibleArchitectureError` if there are none."""
    values = dict(zip(EDGES, re.findall(r"\|?(\w+)~\d\|", text), strict=False))
    if len(values) != len(EDGES) or to_string(values) != text or not set(values.values()) <= set(OPERATIONS):
        raise InfeasibleArchitectureError(
            f"{text!r} is no cell of NAS-Bench-201; write it as {to_string(DEFAULT)} with {', '.join(OPERATIONS)}"
        )
    return values


@cache
def benchmark_order() -> tuple[int, ...]:
    """The cells in the benchmark's numbering, each as its rank in lexicographic order of edges and operations.

    The benchmark listed the cells lexicographically and shuffled the list with Python's generator, seeded by 88. The
    result is checked against all 15,625 published strings.
    """
    ranks = list(range(SPACE_SIZE))
    random.Random(88).shuffle(ranks)
    return tuple(ranks)


@cache
def position() -> Mapping[int, int]:
    """The inverse of `benchmark_order`."""
    return {rank: number for number, rank in enumerate(benchmark_order())}


def index(values: Values) -> int:
    """The number of a cell in NATS-Bench's topology space, 0 to 15,624."""
    rank = 0
    for edge in EDGES:
        rank = rank * len(OPERATIONS) + OPERATIONS.index(str(values[edge]))
    return position()[rank]


def from_index(number: int) -> dict[str, str]:
    """The values of cell `number`; `InfeasibleArchitectureError` outside 0 to 15,624."""
    if not 0 <= number < SPACE_SIZE:
        raise InfeasibleArchitectureError(f"NAS-Bench-201 has no cell {number}; its cells are 0 to {SPACE_SIZE - 1}")
    rank, values = benchmark_order()[number], {}
    for edge in reversed(EDGES):
        rank, operation = divmod(rank, len(OPERATIONS))
        values[edge] = OPERATIONS[operation]
    return {edge: values[edge] for edge in EDGES}


def place_values() -> npt.NDArray[np.int64]:
    """What a step of one operation adds to a cell's rank, for each of `EDGES`."""
    return len(OPERATIONS) ** np.arange(len(EDGES))[::-1]


@cache
def encodings() -> npt.NDArray[np.uint8]:
    """(15,625, 6), read-only: for each cell by number, the place in `OPERATIONS` of what is on each of `EDGES`."""
    ranks = np.array(benchmark_order())[:, None]
    table = (ranks // place_values() % len(OPERATIONS)).astype(np.uint8)
    table.setflags(write=False)
    return table


@cache
def neighbour_numbers() -> npt.NDArray[np.int32]:
    """(15,625, 24), read-only: the numbers of the cells that differ from each in one operation.

    Four for each of `EDGES` in turn, in the order of the other `OPERATIONS`.
    """
    ranks, held = np.array(benchmark_order()), encodings().astype(np.int64)[:, :, None]
    other = np.arange(len(OPERATIONS) - 1)
    other = other + (other >= held)  # skips the operation that is there
    moved = ranks[:, None, None] + (other - held) * place_values()[:, None]
    numbers = np.empty(SPACE_SIZE, np.int32)
    numbers[ranks] = np.arange(SPACE_SIZE)
    table: npt.NDArray[np.int32] = numbers[moved.reshape(SPACE_SIZE, -1)]
    table.setflags(write=False)
    return table
