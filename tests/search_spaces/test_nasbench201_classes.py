"""Classes of equal cells: counted, worked out by hand, and put to the test with weights."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
import torch

from automl_kd.models.costs.cost import cost_of
from automl_kd.space import Architecture, InputShape
from search_spaces import nasbench201
from search_spaces.nasbench201 import EDGES, Cell, from_index, from_string, index, to_string
from search_spaces.nasbench201.classes import (
    ARRIVING,
    CONVOLUTIONS,
    ENDS,
    RULES,
    MapTerm,
    Operations,
    canonical,
    cells,
    classes,
    edge_effort,
    edge_operations,
    exact,
    functional,
    labelling,
    live,
    nodes,
    representatives,
    standard,
)

SKIP, NARROW, WIDE, POOL = "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"


def cell_of(**arriving: str) -> Operations:
    """`e10="skip_connect"` is the edge 1<-0; edges that are not named are "none"."""
    return tuple(arriving.get(f"e{edge[0]}{edge[-1]}", "none") for edge in EDGES)


def values_of(cell: Operations) -> dict[str, str]:
    return dict(zip(EDGES, cell, strict=True))


@pytest.mark.parametrize(
    ("rule", "number"),
    [
        ("string", 15_625),
        ("standard without zero", 12_751),
        ("standard", 6_466),
        ("functional", 4_930),
        ("exact", 5_260),
    ],
)
def test_classes_of_each_rule(rule, number):
    assert classes(rule) == number


def test_the_finer_rules_split_the_classes_of_the_coarser():
    for finer, coarser in [("exact", "functional"), ("standard", "functional"), ("string", "exact")]:
        pairs = {(RULES[finer](cell), RULES[coarser](cell)) for cell in cells()}
        assert len(pairs) == classes(finer)


def test_the_standard_rule_gives_the_published_classes(shared_data):
    table = pd.read_parquet(shared_data / "nasbench201.parquet", columns=["arch_str", "isomorph_index"])
    first: dict[str, int] = {}
    for number in range(nasbench201.SPACE_SIZE):
        first.setdefault(standard(edge_operations(from_index(number))), number)
    ours = [first[standard(edge_operations(from_string(text)))] for text in table["arch_str"]]
    assert ours == table["isomorph_index"].tolist()


def test_two_convolutions_are_not_one_used_twice():
    # a(x) + b(x) against node 1 = a(x), output = node 1 + (node 2 = node 1)
    two = cell_of(e30=WIDE, e10=SKIP, e31=WIDE)
    twice = cell_of(e10=WIDE, e21=SKIP, e31=SKIP, e32=SKIP)
    assert functional(two) == functional(twice)
    assert exact(two) != exact(twice)


def test_which_of_two_equal_convolutions_goes_on_does_not_matter():
    # a(x) + c(b(x)), with b on 2<-0, against c(a(x)) + b(x), with a on 1<-0
    one = cell_of(e30=WIDE, e20=WIDE, e32=NARROW)
    other = cell_of(e10=WIDE, e31=NARROW, e20=WIDE, e32=SKIP)
    assert exact(one) == exact(other)
    # a(x) + b(x) + c(a(x)) has a term more
    assert exact(one) != exact(cell_of(e10=WIDE, e30=WIDE, e21=NARROW, e31=SKIP, e32=SKIP))


def test_pools_of_one_map_are_one_pool():
    # pool(x) + pool(x) from two edges, or from one that is followed twice
    two = cell_of(e30=POOL, e10=SKIP, e31=POOL)
    twice = cell_of(e10=POOL, e21=SKIP, e31=SKIP, e32=SKIP)
    assert exact(two) == exact(twice)
    assert canonical(values_of(two)) == values_of(twice)


def test_dead_edges_by_hand():
    # 1<-0 is there, but nothing leaves node 1; 3<-2 leaves node 2, which nothing reaches
    assert live(cell_of(e10=WIDE, e32=NARROW, e30=POOL)) == cell_of(e30=POOL)
    # 2<-1 leaves a node that is reached and reaches the output
    kept = cell_of(e10=WIDE, e21=SKIP, e32=NARROW)
    assert live(kept) == kept
    # no path: every edge is dead
    assert live(cell_of(e10=WIDE, e20=SKIP)) == cell_of()


def test_canonical_is_a_cell_without_dead_edges_that_stands_for_itself():
    for cell, chosen in representatives().items():
        assert representatives()[chosen] == chosen
        assert live(chosen) == chosen
        assert exact(chosen) == exact(cell)
        assert edge_effort(chosen) <= edge_effort(live(cell)) <= edge_effort(cell)
    assert len(set(representatives().values())) == 5_260


def test_a_shortcut_in_front_changes_nothing():
    # node 2 = x, output = conv(node 2), against output = conv(x)
    assert canonical(values_of(cell_of(e20=SKIP, e32=WIDE))) == values_of(cell_of(e30=WIDE))


def test_cells_without_a_path_are_the_empty_one():
    empty = [cell for cell, chosen in representatives().items() if chosen == cell_of()]
    # published: 341 strings have no path from input to output
    assert len(empty) == 341
    assert all(functional(cell) == () for cell in empty)


def test_the_exact_classes_by_trying_all_assignments_of_weights():
    """Cells over the integers modulo a prime, where a convolution is one of six arbitrary functions of its size.

    Two cells are the same if the outputs over all assignments of functions to edges are the same.
    """
    prime = 1_000_003
    rng = np.random.default_rng(0)
    tables = rng.integers(1, prime, (3, 6, 2))
    tables[2] = tables[2, :1]  # there is one pool
    kinds = {NARROW: 0, WIDE: 1, POOL: 2}
    orders = np.array(list(itertools.permutations(range(6))))  # which function each edge has, 720 ways

    def outputs(cell: Operations) -> bytes:
        maps = [np.full(len(orders), 12_345)]
        for arriving in ARRIVING:
            total = np.zeros(len(orders), np.int64)
            for edge, source in arriving:
                x = maps[source]
                if cell[edge] in kinds:
                    factor, power = tables[kinds[cell[edge]]][orders[:, edge]].T
                    # zero stays zero, and nothing else is respected
                    x = np.where(x == 0, 0, (x * x % prime * factor + x * power) % prime)
                total = total + (x if cell[edge] != "none" else 0)
            maps.append(total % prime)
        return np.sort(maps[3]).tobytes()

    seen: dict[bytes, Operations] = {}
    for cell in {live(cell) for cell in cells()}:
        first = seen.setdefault(outputs(cell), cell)
        assert exact(first) == exact(cell)
    assert len(seen) == 5_260


def convolutions(cell: Operations) -> dict[MapTerm, str]:
    """The edges of a live cell that hold convolutions, by what they compute."""
    found = nodes(cell, labelling(cell))
    return {
        (cell[number], labelling(cell)[number], found[source]): EDGES[number]
        for number, (_, source) in enumerate(ENDS)
        if cell[number] in CONVOLUTIONS
    }


def test_members_of_a_class_compute_the_same_with_the_same_weights():
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    x = torch.randn(3, 4, 6, 6, dtype=torch.float64)
    several = 0
    for number in rng.choice(nasbench201.SPACE_SIZE, 150, replace=False):
        values = from_index(int(number))
        one, other = Cell(values, 4).double(), Cell(canonical(values), 4).double()
        mine, theirs = convolutions(live(edge_operations(values))), convolutions(edge_operations(canonical(values)))
        assert mine.keys() == theirs.keys()
        for term, edge in mine.items():
            other.edges[theirs[term]].load_state_dict(one.edges[edge].state_dict())
        torch.testing.assert_close(one(x), other(x), rtol=1e-9, atol=1e-9)
        several += len(mine) > 1 and mine != theirs
    assert several >= 10


def test_equal_sums_of_different_classes_differ_with_weights():
    # the two cells of the first test by hand: no weights make them one, here equal sizes but a != b
    torch.manual_seed(0)
    x = torch.randn(3, 4, 6, 6, dtype=torch.float64)
    two = Cell(values_of(cell_of(e30=WIDE, e10=SKIP, e31=WIDE)), 4).double()
    twice = Cell(values_of(cell_of(e10=WIDE, e21=SKIP, e31=SKIP, e32=SKIP)), 4).double()
    for edge in ("3<-0", "3<-1"):
        twice.edges["1<-0"].load_state_dict(two.edges[edge].state_dict())
        assert not torch.allclose(two(x), twice(x), atol=1e-3)


def test_the_representative_costs_no_more_than_any_member():
    rng = np.random.default_rng(1)
    shape = InputShape(3, 32, 32, 10)
    for number in rng.choice(nasbench201.SPACE_SIZE, 300, replace=False):
        values = from_index(int(number))
        chosen, given = (cost_of(nasbench201.SPACE, Architecture.of(one), shape) for one in (canonical(values), values))
        assert chosen.params <= given.params
        assert chosen.macs <= given.macs


def test_the_space_says_its_canonical_points():
    assert nasbench201.SPACE.canonical is canonical
    for number in (0, 1, 15_624):
        values = from_index(number)
        assert from_index(index(canonical(values))) == canonical(values)
        assert from_string(to_string(canonical(values))) == canonical(values)
