"""Networks of NAS-Bench-201 for scoring: assembled from parts that are drawn once and shared, without dead edges.

At initialisation such a network computes what the benchmark's does: an edge without a path from the input carries
zeros, and one without a path to the output is not looked at. Once batch normalisation has learnt a bias that is no
longer so; these networks are not for training.

What is shared: the parts, that is every module that is no container (see `PartCache`). Two networks of one cache
that have a part in common have its weights, gradients, buffers, mode and hooks in common. Use one network at a time,
and leave each as it was, before the next is assembled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from automl_kd.models.fast_norm import QuickNorm
from automl_kd.models.features import KeepOutput
from automl_kd.space import InputShape, PreparePart, Values
from search_spaces.nasbench201.classes import ARRIVING, Operations, edge_operations, live
from search_spaces.nasbench201.networks import MAKE, CellNetwork
from search_spaces.nasbench201.notation import EDGES

NodeTerms = tuple[tuple[int, str], ...]
AssemblyPlan = tuple[tuple[int, NodeTerms], ...]
"""The live nodes after the input in order, each with what it adds up: a source, and the edge's name, or "" if it is a
shortcut."""


@cache
def plan(cell: Operations) -> AssemblyPlan:
    """How to compute a live cell."""
    steps = [
        (
            target,
            tuple(
                (source, "" if cell[number] == "skip_connect" else EDGES[number])
                for number, source in arriving
                if cell[number] != "none"
            ),
        )
        for target, arriving in enumerate(ARRIVING, 1)
    ]
    return tuple((target, terms) for target, terms in steps if terms)


class LiveCell(nn.Module):
    """A cell that holds convolutions and pools on live edges only. A shortcut is the map itself, not a copy.

    A node is pooled once and rectified once, however many edges leave it; and, without a graph, maps that nobody else
    has are written over. What comes out is the same to the last bit, as the same kernels run on maps of the same
    shapes, and so is what hooks of the class `KeepOutput` get, but that edges from one node give them the same map.
    `memory`: of what edges made of the first nodes in other networks.
    """

    def __init__(self, steps: AssemblyPlan, edges: Mapping[str, nn.Module], memory: MapMemory | None) -> None:
        super().__init__()
        self.steps, self.memory = steps, memory
        self.edges = nn.ModuleDict(edges)
        self.rectified = rectified(steps, edges)

    def forward(self, x: Tensor) -> Tensor:
        if not self.steps:
            # No path from input to output. Multiplied, so that what comes before keeps a gradient, of zero.
            return x * 0.0
        nodes, begun = [x, x, x, x], dict[tuple[int, type], Tensor]()
        for target, terms in self.steps:
            nodes[target], ours = self.summed(terms, nodes, begun)
            if ours and target in self.rectified and not torch.is_grad_enabled():
                begun[target, nn.ReLU] = nodes[target].relu_()
        return nodes[3]

    def summed(
        self, terms: NodeTerms, nodes: Sequence[Tensor], begun: dict[tuple[int, type], Tensor]
    ) -> tuple[Tensor, bool]:
        """A node: what arrives over its edges, added up in their order; and whether nobody else has this map."""
        arriving = (self.arriving(edge, source, nodes[source], begun) for source, edge in terms)
        total, ours = next(arriving)
        for term, free in arriving:
            # No gradient needs a sum's value; and a + b is b + a to the last bit.
            total = total.add_(term) if ours else term.add_(total) if free else total + term
            ours = True
        return total, ours

    def arriving(
        self, edge: str, source: int, node: Tensor, begun: dict[tuple[int, type], Tensor]
    ) -> tuple[Tensor, bool]:
        """What comes from the node over an edge, and whether it may be written over.

        `begun`: what first modules made of nodes, for the edges after.
        """
        if not edge:
            return node, False
        part = self.edges[edge]
        if self.memory is not None and self.memory.has(node):
            return self.memory(part, node), False
        first, *others = part if isinstance(part, nn.Sequential) else [part]
        graph = torch.is_grad_enabled()
        if is_watched(part) or obliged(first):
            made: Tensor = part(node)
            return made, False
        if (source, type(first)) in begun:
            made = begun[source, type(first)]
            tell(first, made)
        else:
            made = begun[source, type(first)] = first(node)
        for before, module in pairwise([first, *others]):
            unseen = not graph and not is_watched(before) and not is_watched(module)
            made = module.over(made) if unseen and isinstance(module, QuickNorm) else module(made)
        return made, bool(others) and not graph and not is_watched(others[-1])


def rectified(steps: AssemblyPlan, edges: Mapping[str, nn.Module]) -> frozenset[int]:
    """Nodes that are only looked at through rectifiers."""
    leaving = [(source, edges.get(edge)) for _, terms in steps for source, edge in terms]
    seen = {source for source, part in leaving if not isinstance(part, nn.Sequential)}
    return frozenset(source for source, _ in leaving) - seen


class MapMemory:
    """What parts made before of the same map with the same weights, where no gradient is wanted.

    The images of a probe are the same for all networks of a cache, hence also what the stem makes of them, and the
    edges that leave the first cell's input, and those that leave a node which is one of the latter's maps. All of them
    are kept as long as the images live: about a hundred maps as large as the first stage's.
    """

    def __init__(self) -> None:
        self.known: MutableMapping[Tensor, dict[nn.Module, Made]] = WeakTensorKeyDictionary()
        """By images, or by a map that was made of them, what parts made of it."""

    def has(self, x: Tensor) -> bool:
        """Whether `x` itself is a map that is kept."""
        return x in self.known

    def __call__(self, part: nn.Module, x: Tensor) -> Tensor:
        first, *others = part if isinstance(part, nn.Sequential) else [part]
        has_hooks = first._forward_hooks and first is not part
        asked = any(map(obliged, (part, first))) or any(is_watched(one) or noting(one) for one in others)
        if torch.is_grad_enabled() or x.is_inference() or asked:
            fresh: Tensor = part(x)
            return fresh
        parameters = tuple(part.parameters())
        state = tuple((id(one), one.data_ptr(), one._version) for one in (x, *parameters))
        made_of_x = self.known.setdefault(x, {})
        if part in made_of_x and made_of_x[part].state == state:
            made = made_of_x[part].made
            if has_hooks:
                first(x)  # for its hooks
            tell(part, made)
            return made
        now: Tensor = part(x)
        made_of_x[part] = Made(parameters, state, now)
        self.known.setdefault(now, {})
        return now


@dataclass(frozen=True, eq=False)
class Made:
    """A map, the parameters that it was made with (held, so that none takes another's place), and their state then."""

    parameters: Sequence[Tensor]
    state: tuple[tuple[int, int, int], ...]
    made: Tensor


def is_watched(module: nn.Module) -> bool:
    """Whether a run of it is more than its result."""
    return bool(module._forward_hooks) or obliged(module)


def obliged(module: nn.Module) -> bool:
    """Whether it must run for that: it keeps statistics, has another forward function, or hooks that do not only keep
    what it makes.
    """
    hooked = module._forward_pre_hooks or not all(isinstance(one, KeepOutput) for one in module._forward_hooks.values())
    return bool(hooked) or "forward" in vars(module) or any(one is not None for one in module._buffers.values())


def noting(module: nn.Module) -> bool:
    """Whether somebody reads the variances of what it is given, which it notes as it runs, in whatever way."""
    return isinstance(module, QuickNorm) and module.noted is not None


def tell(module: nn.Module, made: Tensor) -> None:
    """Let the hooks of a module that need not run have what it would make."""
    for hook in module._forward_hooks.values():
        hook(module, (), made)


class FastPool(nn.AvgPool2d):
    """The cell's average pooling, several times faster on processors: sums by a depthwise convolution, then quotients.

    Equal to torch's but for the order of sums.
    """

    def __init__(self) -> None:
        super().__init__(3, stride=1, padding=1, count_include_pad=False)

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype == torch.float64 or x.is_cuda:  # there the library's own pooling is the faster one
            return super().forward(x)
        sums = F.conv2d(x, window(x.shape[1], x.dtype, x.device), padding=1, groups=x.shape[1])
        return sums.mul_(quotients(x.shape[2], x.shape[3], x.dtype, x.device))  # ours alone, and no gradient needs it


@cache
def window(channels: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The depthwise convolution that sums up 3x3 pixels."""
    with torch.inference_mode(False):
        return torch.ones(channels, 1, 3, 3, dtype=dtype, device=device)


@cache
def quotients(height: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """One over the number of pixels that lie in the window around each."""
    with torch.inference_mode(False):
        ones = torch.ones(1, 1, height, width, dtype=dtype, device=device)
        return 1 / F.avg_pool2d(ones, 3, stride=1, padding=1, divisor_override=1)


@dataclass(frozen=True, eq=False)
class PartCache:
    """Assembles networks for `shape`. `prepare` makes a part the first time that a network needs it.

    Parts are the stem, the residual blocks, the convolutions and pools on edges, head, global pool and classifier,
    each under its path in `CellNetwork`; edges of one path and different operations are different parts. Containers
    (the network, its stages, its cells) are new each time. A part remains as long as the cache.
    """

    shape: InputShape
    prepare: PreparePart
    C: int
    N: int
    parts: dict[tuple[str, str], nn.Module] = field(default_factory=dict)
    memory: MapMemory = field(default_factory=MapMemory)

    def __call__(self, values: Values) -> CellNetwork:
        """The network of `values`, any of the space; it has the weights of its parts, and draws none itself."""
        cell = live(edge_operations(values))
        steps = plan(cell)
        held = [(edge, kind) for edge, kind in zip(EDGES, cell, strict=True) if kind not in {"none", "skip_connect"}]

        def live_cell(path: str, channels: int) -> LiveCell:
            found = {edge: self.part(f"{path}.edges.{edge}", edge_maker(kind, channels), kind) for edge, kind in held}
            return LiveCell(steps, found, self.memory if path == "stage1.0" else None)

        network = CellNetwork(live_cell, self.shape, C=self.C, N=self.N, part=self.part)
        network.begin = self.memory
        return network

    def part(self, path: str, make: Callable[[], nn.Module], kind: str = "") -> nn.Module:
        if (path, kind) not in self.parts:
            # Else weights that are first needed under inference mode could never have a gradient.
            with torch.inference_mode(False):
                self.parts[path, kind] = self.prepare(path, make)
        return self.parts[path, kind]


def edge_maker(kind: str, channels: int) -> Callable[[], nn.Module]:
    """Makes the module of a live edge."""
    return FastPool if kind == "avg_pool_3x3" else partial(MAKE[kind], channels)


def make_part_cache(shape: InputShape, prepare: PreparePart, *, C: int, N: int) -> PartCache:
    """An empty part cache for networks of `C` channels in the first stage and `N` cells per stage."""
    return PartCache(shape, prepare, C, N)
