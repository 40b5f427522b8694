"""The cells of NAS-Bench-201: five operations on each of six edges, 15,625 students with known accuracies.

Dong, Yang. NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search. 2020. arXiv:2001.00326,
section 2.1 and figure 1. A cell is a graph of four nodes; node i is the sum of what the edges i<-j make of the earlier
nodes j. The network stacks N equal cells at each of three resolutions, with a residual block between them. C and N as
in the paper: channels of the first stage, cells per stage. Weights begin as torch's layers leave them, as in the
benchmark. Parameters and multiply-adds agree with the published table at C = 16, N = 5.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from functools import cache, partial

from torch import Tensor, nn

from automl_kd.errors import InfeasibleArchitectureError
from automl_kd.models.blocks import convolution, global_pool
from automl_kd.models.taps import Tap
from automl_kd.space import Choice, Parameter, SearchSpace, TaskShape, Values

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""In the benchmark's order, from which its numbering follows."""

EDGES = ("1<-0", "2<-0", "2<-1", "3<-0", "3<-1", "3<-2")
SIZE = len(OPERATIONS) ** len(EDGES)


class Zero(nn.Module):
    """No edge. Multiplies, so that every parameter stays in the autograd graph with a gradient of zero."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 0.0


def activated(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """ReLU, convolution, batch normalisation."""
    return nn.Sequential(nn.ReLU(), convolution(inputs, outputs, kernel, stride), nn.BatchNorm2d(outputs))


MAKE: Mapping[str, Callable[[int], nn.Module]] = {
    "none": lambda _: Zero(),
    "skip_connect": lambda _: nn.Identity(),
    "nor_conv_1x1": lambda channels: activated(channels, channels, 1),
    "nor_conv_3x3": lambda channels: activated(channels, channels, 3),
    "avg_pool_3x3": lambda _: nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
}


class Cell(nn.Module):
    """Four nodes; the first is the input, the last the output, all of `channels` maps."""

    def __init__(self, values: Values, channels: int) -> None:
        super().__init__()
        self.edges = nn.ModuleDict({edge: MAKE[str(values[edge])](channels) for edge in EDGES})

    def forward(self, x: Tensor) -> Tensor:
        nodes = [x]
        for target in (1, 2, 3):
            arriving = [self.edges[f"{target}<-{source}"](nodes[source]) for source in range(target)]
            nodes.append(sum(arriving[1:], start=arriving[0]))
        return nodes[3]


class Reduction(nn.Module):
    """A residual block of stride 2 that changes the width; its shortcut averages before it projects."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(activated(inputs, outputs, 3, stride=2), activated(outputs, outputs, 3))
        # ceil_mode matches the convolution's rounding where height or width is odd.
        self.shortcut = nn.Sequential(nn.AvgPool2d(2, ceil_mode=True), convolution(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x) + self.shortcut(x)
        return out


class CellNetwork(nn.Module):
    """Stem, three stages of N cells at C, 2C and 4C channels, classifier.

    A stage ends in a sum, not an activation, so there are no taps "stage1.pre".
    """

    def __init__(self, values: Values, shape: TaskShape, *, C: int, N: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(convolution(shape.channels, C, 3), nn.BatchNorm2d(C))
        self.stage1 = nn.Sequential(*[Cell(values, C) for _ in range(N)])
        self.stage2 = nn.Sequential(Reduction(C, 2 * C), *[Cell(values, 2 * C) for _ in range(N)])
        self.stage3 = nn.Sequential(Reduction(2 * C, 4 * C), *[Cell(values, 4 * C) for _ in range(N)])
        self.head = nn.Sequential(nn.BatchNorm2d(4 * C), nn.ReLU())
        self.pool = global_pool()
        self.fc = nn.Linear(4 * C, shape.classes)
        self.taps = {name: Tap(name) for name in ("stem", "stage1", "stage2", "stage3")}
        self.taps |= {"pre_pool": Tap("pool", "input"), "pooled": Tap("pool")}

    def forward(self, x: Tensor) -> Tensor:
        maps = self.stage3(self.stage2(self.stage1(self.stem(x))))
        logits: Tensor = self.fc(self.pool(self.head(maps)))
        return logits


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
def order() -> tuple[int, ...]:
    """The cells in the benchmark's numbering, each as its rank in lexicographic order of edges and operations.

    The benchmark listed the cells lexicographically and shuffled the list with Python's generator, seeded by 88. The
    result is checked against all 15,625 published strings.
    """
    ranks = list(range(SIZE))
    random.Random(88).shuffle(ranks)
    return tuple(ranks)


@cache
def position() -> Mapping[int, int]:
    """The inverse of `order`."""
    return {rank: number for number, rank in enumerate(order())}


def index(values: Values) -> int:
    """The number of a cell in NATS-Bench's topology space, 0 to 15,624."""
    rank = 0
    for edge in EDGES:
        rank = rank * len(OPERATIONS) + OPERATIONS.index(str(values[edge]))
    return position()[rank]


def from_index(number: int) -> dict[str, str]:
    """The values of cell `number`; `InfeasibleArchitectureError` outside 0 to 15,624."""
    if not 0 <= number < SIZE:
        raise InfeasibleArchitectureError(f"NAS-Bench-201 has no cell {number}; its cells are 0 to {SIZE - 1}")
    rank, values = order()[number], {}
    for edge in reversed(EDGES):
        rank, operation = divmod(rank, len(OPERATIONS))
        values[edge] = OPERATIONS[operation]
    return {edge: values[edge] for edge in EDGES}


# A residual unit as one would draw it by hand: two 3x3 convolutions in a row, and a shortcut around them.
DEFAULT = {
    "1<-0": "nor_conv_3x3",
    "2<-0": "none",
    "2<-1": "nor_conv_3x3",
    "3<-0": "skip_connect",
    "3<-1": "none",
    "3<-2": "skip_connect",
}


def space(C: int = 16, N: int = 5) -> SearchSpace:
    """The space at `C` channels in the first stage and `N` cells per stage, both at least 1."""
    if C < 1 or N < 1:
        raise ValueError(f"the cell space needs C and N of at least 1, got C = {C}, N = {N}")
    return SearchSpace(
        name=f"nasbench201-C{C}-N{N}",
        source="arXiv:2001.00326, section 2.1",
        parameters={edge: Parameter(Choice(OPERATIONS)) for edge in EDGES},
        build=partial(CellNetwork, C=C, N=N),
        default=DEFAULT,
        describe=to_string,
    )


SPACE = space()
SMALL = space(C=8, N=1)
"""The same cells in a network that two cores train in minutes; the benchmark's accuracies are not of it."""
