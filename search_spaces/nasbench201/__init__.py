"""The cells of NAS-Bench-201: five operations on each of six edges, 15,625 students with known accuracies.

Dong, Yang. NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search. 2020. arXiv:2001.00326,
section 2.1 and figure 1. A cell is a graph of four nodes; node i is the sum of what the edges i<-j make of the earlier
nodes j. The network stacks N equal cells at each of three resolutions, with a residual block between them. C and N as
in the paper: channels of the first stage, cells per stage. Weights begin as torch's layers leave them, as in the
benchmark. Strings and numbers, equal cells, networks and the part cache for scoring are each in a file of this folder.
"""

from __future__ import annotations

from functools import partial

from automl_kd.space import Choice, Parameter, SearchSpace
from search_spaces.nasbench201.classes import canonical
from search_spaces.nasbench201.networks import Cell, CellNetwork, Reduction, build_cell_network, network_cost
from search_spaces.nasbench201.notation import (
    DEFAULT,
    EDGES,
    OPERATIONS,
    SPACE_SIZE,
    benchmark_order,
    encodings,
    from_index,
    from_string,
    index,
    neighbour_numbers,
    to_string,
)
from search_spaces.nasbench201.shared_parts import make_part_cache

__all__ = [
    "DEFAULT",
    "EDGES",
    "OPERATIONS",
    "SMALL_SPACE",
    "SPACE",
    "SPACE_SIZE",
    "Cell",
    "CellNetwork",
    "Reduction",
    "benchmark_order",
    "encodings",
    "from_index",
    "from_string",
    "index",
    "neighbour_numbers",
    "space",
    "to_string",
]


def space(C: int = 16, N: int = 5) -> SearchSpace:
    """The space at `C` channels in the first stage and `N` cells per stage, both at least 1."""
    if C < 1 or N < 1:
        raise ValueError(f"the cell space needs C and N of at least 1, got C = {C}, N = {N}")
    return SearchSpace(
        name=f"nasbench201-C{C}-N{N}",
        source="arXiv:2001.00326, section 2.1",
        parameters={edge: Parameter(Choice(OPERATIONS)) for edge in EDGES},
        build=partial(build_cell_network, C=C, N=N),
        default=DEFAULT,
        describe=to_string,
        canonical=canonical,
        cost=partial(network_cost, C=C, N=N),
        part_cache=partial(make_part_cache, C=C, N=N),
    )


SPACE = space()
SMALL_SPACE = space(C=8, N=1)
"""The same cells in a network that two cores train in minutes; the benchmark's accuracies are not of it."""
