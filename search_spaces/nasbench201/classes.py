"""Which cells of NAS-Bench-201 are the same function, by rules that differ in what they take for the same.

A cell is read as an expression: a node is the sum of the terms that arrive at it, and a term is an operation applied
to an earlier node. The rules are about networks as they are initialised, in training mode: there a convolution of
zeros stays zero, because batch normalisation begins with a bias of zero.

    rule                     classes  takes for the same
    string                    15,625  equal strings
    standard without zero     12,751  equal strings once shortcuts are followed; arXiv:2001.00326, section 2.1
    standard                   6,466  and what is missing is written "#", which adds up as a term of its own
    functional                 4,930  equal sums of terms: zero adds nothing, and sums of sums are one sum
    exact                      5,260  as functional, but each convolution has weights of its own

The functional rule identifies conv(x) + conv(x) from two edges with 2 conv(x), of one convolution used twice. With
weights drawn for every edge these are not the same function, so `canonical` uses the exact rule. None of the rules
uses that average pooling is linear, nor that batch normalisation takes a factor away (which it does only up to its
epsilon).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import chain, permutations, product

from automl_kd.space import Values
from search_spaces.nasbench201.notation import EDGES, OPERATIONS

Operations = tuple[str, ...]
"""A cell: one operation for each of `EDGES`."""

MapTerm = tuple[str, int, "Expression"]
"""An operation, the label of its weights among those that are otherwise alike, and what it is applied to."""

Expression = tuple[MapTerm, ...]
"""A sum of terms, sorted; without terms it is zero."""

INPUT: Expression = (("input", 0, ()),)
ENDS = tuple((int(edge[0]), int(edge[-1])) for edge in EDGES)
ARRIVING = tuple(tuple((n, source) for n, (end, source) in enumerate(ENDS) if end == target) for target in (1, 2, 3))
"""For each node after the input, the edges into it: position in `EDGES`, and the source."""

CONVOLUTIONS = ("nor_conv_1x1", "nor_conv_3x3")


def edge_operations(values: Values) -> Operations:
    return tuple(str(values[edge]) for edge in EDGES)


def cells() -> Iterator[Operations]:
    """All 15,625, the last edge varying fastest."""
    return product(OPERATIONS, repeat=len(EDGES))


def live(cell: Operations) -> Operations:
    """The cell with "none" on every edge that the input does not reach or that does not reach the output."""
    reached, useful = {0}, {3}
    for (target, source), operation in zip(ENDS, cell, strict=True):
        if operation != "none" and source in reached:
            reached.add(target)
    for (target, source), operation in reversed(list(zip(ENDS, cell, strict=True))):
        if operation != "none" and target in useful:
            useful.add(source)
    return tuple(
        operation if source in reached and target in useful else "none"
        for (target, source), operation in zip(ENDS, cell, strict=True)
    )


def nodes(cell: Operations, labels: Mapping[int, int]) -> list[Expression]:
    """The expressions of the four nodes. `labels`: by position of the edge; 0 where there is none."""
    found = [INPUT]
    for arriving in ARRIVING:
        terms: list[MapTerm] = []
        for number, source in arriving:
            if cell[number] == "skip_connect":
                terms += found[source]
            elif cell[number] != "none" and found[source]:
                terms.append((cell[number], labels.get(number, 0), found[source]))
        found.append(tuple(sorted(terms)))
    return found


def functional(cell: Operations) -> Expression:
    """What the output is if convolutions of equal size and input are equal."""
    return nodes(cell, {})[3]


def labellings(cell: Operations) -> Iterator[dict[int, int]]:
    """Every way to number the convolutions among those of equal size and input, 0 upwards."""
    inputs = nodes(cell, {})
    groups: dict[tuple[str, Expression], list[int]] = {}
    for number, (_, source) in enumerate(ENDS):
        if cell[number] in CONVOLUTIONS:
            groups.setdefault((cell[number], inputs[source]), []).append(number)
    edges = list(chain.from_iterable(groups.values()))
    for orders in product(*[permutations(range(len(group))) for group in groups.values()]):
        yield dict(zip(edges, chain.from_iterable(orders), strict=True))


@cache
def labelling(cell: Operations) -> Mapping[int, int]:
    """The numbering of a live cell's convolutions with which its output comes first in order.

    Where two cells then have equal outputs, equal terms say which convolution of one is which of the other.
    """
    return min(labellings(cell), key=lambda labels: nodes(cell, labels)[3])


def exact(cell: Operations) -> Expression:
    """What the output is if each convolution has its own weights, whatever the edges that hold them are called."""
    return nodes(live(cell), labelling(live(cell)))[3]


def standard(cell: Operations, *, zero: bool = True) -> str:
    """The benchmark's name of the output: terms in the order of their strings, a sum within a sum as it was."""
    names = ["0"]
    for arriving in ARRIVING:
        terms = []
        for number, source in arriving:
            if zero and (cell[number] == "none" or names[source] == "#"):
                terms.append("#")
            elif cell[number] == "skip_connect":
                terms.append(names[source])
            else:
                terms.append(f"({names[source]})@{cell[number]}")
        names.append("+".join(sorted(terms)))
    return names[3]


def standard_without_zero(cell: Operations) -> str:
    return standard(cell, zero=False)


RULES: Mapping[str, Callable[[Operations], object]] = {
    "string": "+".join,
    "standard without zero": standard_without_zero,
    "standard": standard,
    "functional": functional,
    "exact": exact,
}


def classes(rule: str) -> int:
    """How many cells there are if those that `rule`, one of `RULES`, cannot tell apart count once."""
    return len({RULES[rule](cell) for cell in cells()})


def edge_effort(cell: Operations) -> tuple[int, int]:
    """Pools, then edges: whoever has least in a class has no dead edge, as one could leave that out."""
    return cell.count("avg_pool_3x3"), len(EDGES) - cell.count("none")


@cache
def representatives() -> Mapping[Operations, Operations]:
    """For every cell, the one of its exact class that costs least, and the first of these in order."""
    keys = {cell: exact(cell) for cell in cells()}
    chosen: dict[Expression, Operations] = {}
    for cell in sorted(keys, key=edge_effort):  # stable: equal efforts keep their order
        chosen.setdefault(keys[cell], cell)
    return {cell: chosen[key] for cell, key in keys.items()}


def canonical(values: Values) -> dict[str, str]:
    """The cell that stands for all that compute the same function at initialisation, by the exact rule.

    It has no dead edges; the cells without a path from input to output are the one of "none" only.
    """
    return dict(zip(EDGES, representatives()[edge_operations(values)], strict=True))
