"""The table's notion of cells is that of the search space, which it cannot import."""

from __future__ import annotations

import numpy as np
import pytest

from automl_kd.nasbench.table import cells
from search_spaces.nasbench201 import notation


@pytest.fixture(scope="module")
def encodings() -> np.ndarray:
    """By the table's reading of the space's strings, in the space's numbering."""
    strings = [notation.to_string(notation.from_index(number)) for number in range(notation.SPACE_SIZE)]
    return cells.encode(strings)


def test_operations_edges_numbers_and_encodings_are_equal(encodings):
    assert (cells.OPERATIONS, cells.EDGES, cells.CELL_COUNT) == (
        notation.OPERATIONS,
        notation.EDGES,
        notation.SPACE_SIZE,
    )
    np.testing.assert_array_equal(cells.official_ranks(), notation.benchmark_order())
    np.testing.assert_array_equal(encodings, notation.encodings())
    np.testing.assert_array_equal(cells.lexicographic_ranks(encodings), notation.benchmark_order())


def test_neighbours_are_equal(encodings):
    np.testing.assert_array_equal(cells.neighbour_positions(encodings), notation.neighbour_numbers())
