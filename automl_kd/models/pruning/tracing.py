"""From a network to its coupling: torch.fx records the graph once, and channels are followed through it by name.

What is not understood is never thinned: an operation that is in none of the tables below fixes the channels that enter
and leave it. So any network that can be traced is treated correctly, if not always fully. Layers need not be entered:
hooks on the network itself (a grey image repeated to three channels) run as usual and are no part of the graph.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from automl_kd.errors import ConfigError
from automl_kd.models.costs.cost import blank_inputs, count_cost, evaluating
from automl_kd.models.pruning.coupling import ChannelGroup, Coupling, Layer, cost_difference, total_cost
from automl_kd.models.pruning.residual_blocks import find_blocks
from automl_kd.registry import name_type
from automl_kd.space import InputShape

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d
CHANNELWISE = (
    *(nn.Identity, nn.Dropout, nn.Dropout2d, nn.Flatten),
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Sigmoid, nn.Hardsigmoid, nn.Tanh),
    *(nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Upsample),
)
"""Modules without parameters that pass each channel on by itself."""

PASSED: frozenset[Any] = frozenset(
    {
        *(F.relu, F.relu_, torch.relu, F.relu6, F.gelu, F.silu, F.dropout, torch.sigmoid, torch.flatten),
        *(F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d, F.adaptive_max_pool2d),
        *("relu", "relu_", "flatten", "view", "reshape", "contiguous", "sigmoid", "clone"),
    }
)
"""Functions, and names of tensors' methods, that do the same."""

JOINS: frozenset[Any] = frozenset(
    {*(operator.add, operator.iadd, operator.mul, operator.imul, torch.add, torch.mul), *("add", "add_", "mul", "mul_")}
)
"""Operations on two maps of the same channels."""

ASKED: frozenset[Any] = frozenset({getattr, "size", "dim"})
"""What asks a tensor for its shape and passes nothing on."""

SPATIAL = ((2, 3), (-2, -1), (3, 2), (-1, -2))


def trace(model: nn.Module, shape: InputShape) -> Coupling:
    """The coupling of `model`, which is left as it was. `ConfigError` if its forward pass cannot be traced."""
    with evaluating(model), torch.no_grad():
        graph = record_graph(model, shape)
        tracer = Follower(model)
        for node in graph.nodes:
            tracer.follow(node)
    blocks = find_blocks(graph, model, tracer.mixing())
    groups, layers = tracer.named(tuple(blocks))
    widths = {name: group.size for name, group in groups.items()}
    rest = cost_difference(count_cost(model, shape), total_cost(layers.values(), widths))
    return Coupling(groups, layers, blocks, rest)


def record_graph(model: nn.Module, shape: InputShape) -> fx.Graph:
    """The graph of a forward pass in evaluation mode, each node with the shape of its tensor."""
    try:
        graph = fx.Tracer().trace(model)
    except (fx.proxy.TraceError, TypeError, RuntimeError) as error:
        raise ConfigError(
            f"{name_type(model)} cannot be traced into channels and blocks ({error}); "
            "take a model of the zoo, a residual network of torchvision, or one without control flow on tensors"
        ) from error
    seen: list[Tensor] = []
    # Registered last, so it sees what the network's own hooks make of the images.
    handle = model.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model(blank_inputs(model, shape))
    handle.remove()
    propagation: Any = ShapeProp(fx.GraphModule(model, graph))
    propagation.propagate(seen[0])
    return graph


@dataclass(frozen=True)
class Channels:
    """The channels of a map: `slot` in the union-find, each standing for `repeat` neighbouring entries."""

    slot: int
    repeat: int = 1


@dataclass(frozen=True)
class Use:
    """A layer in terms of slots, before groups have names."""

    reads: int | None
    writes: int
    repeat: int
    params_each: int
    macs_each: int
    params_out: int
    macs_out: int


class Follower:
    """Follows channels through a graph; joins those that must share one fate (union-find over slots)."""

    def __init__(self, model: nn.Module) -> None:
        self.modules = dict(model.named_modules())
        self.channels: dict[fx.Node, Channels] = {}
        self.parents: list[int] = []
        self.sizes: list[int] = []
        self.fixed: set[int] = set()
        self.uses: dict[str, Use] = {}
        self.rules: dict[str, Callable[[fx.Node], None]] = {
            "call_module": self.module,
            "call_function": self.function,
            "call_method": self.function,
        }

    def follow(self, node: fx.Node) -> None:
        self.rules.get(node.op, self.opaque)(node)

    def slot(self, size: int) -> int:
        self.parents.append(len(self.parents))
        self.sizes.append(size)
        return len(self.parents) - 1

    def root(self, slot: int) -> int:
        while self.parents[slot] != slot:
            slot = self.parents[slot]
        return slot

    def source(self, node: fx.Node) -> Channels | None:
        """The channels of the first argument."""
        first = node.args[0] if node.args else None
        return self.channels.get(first) if isinstance(first, fx.Node) else None

    def opaque(self, node: fx.Node) -> None:
        """Fix what enters, and what leaves."""
        for given in node.all_input_nodes:
            if given in self.channels:
                self.fixed.add(self.channels[given].slot)
        shape = shape_of(node)
        if len(shape) >= 2 and node.op != "output":
            self.channels[node] = Channels(self.slot(shape[1]))
            self.fixed.add(self.channels[node].slot)

    def module(self, node: fx.Node) -> None:
        name = str(node.target)
        module, source = self.modules[name], self.source(node)
        if source is None or name in self.uses:  # a layer that runs twice would need one group for both runs
            for slot in (self.uses[name].reads, self.uses[name].writes) if name in self.uses else ():
                self.fixed |= set() if slot is None else {slot}
            self.opaque(node)
        elif isinstance(module, CHANNELWISE):
            self.passed(node)
        elif isinstance(module, BatchNorm) and source.repeat == 1:
            self.channels[node] = source
            self.uses[name] = Use(None, source.slot, 1, 0, 0, parameters(module) // module.num_features, 0)
        elif isinstance(module, nn.Conv2d):
            self.convolution(node, name, module, source)
        elif isinstance(module, nn.Linear) and len(shape_of(node)) == 2:
            self.mixed(node, name, source, module.out_features, 1, 1, module.bias is not None)
        else:
            self.opaque(node)

    def convolution(self, node: fx.Node, name: str, module: nn.Conv2d, source: Channels) -> None:
        kernel, places = math.prod(module.kernel_size), math.prod(shape_of(node)[2:])
        bias = module.bias is not None
        if module.groups == 1:
            self.mixed(node, name, source, module.out_channels, kernel, kernel * places, bias)
        elif module.groups == module.in_channels == module.out_channels:
            self.channels[node] = source
            self.uses[name] = Use(None, source.slot, 1, 0, 0, kernel + bias, kernel * places)
        else:
            self.opaque(node)

    def mixed(
        self, node: fx.Node, name: str, source: Channels, outputs: int, params: int, macs: int, bias: bool
    ) -> None:
        self.channels[node] = Channels(self.slot(outputs))
        self.uses[name] = Use(source.slot, self.channels[node].slot, source.repeat, params, macs, int(bias), 0)

    def function(self, node: fx.Node) -> None:
        if node.target in JOINS:
            self.joined(node)
        elif node.target in PASSED or (node.target in ("mean", torch.mean) and over_space(node)):
            self.passed(node)
        elif node.target not in ASKED or shape_of(node):
            self.opaque(node)

    def passed(self, node: fx.Node) -> None:
        """The same channels; flattened, each stands for as many entries as it had places."""
        source, shape = self.source(node), shape_of(node)
        given = shape_of(node.args[0])
        if source is not None and shape[:2] == given[:2]:
            self.channels[node] = source
        elif source is not None and shape == (given[0], math.prod(given[1:])):
            self.channels[node] = Channels(source.slot, source.repeat * math.prod(given[2:]))
        else:
            self.opaque(node)

    def joined(self, node: fx.Node) -> None:
        """One fate for both operands; a number beside a map changes nothing."""
        operands = [self.channels.get(given) for given in node.all_input_nodes]
        known = [one for one in operands if one is not None]
        sizes = {(self.sizes[one.slot], one.repeat) for one in known}
        if not known or len(known) < len(operands) or len(sizes) > 1 or shape_of(node)[1] != channel_entries(sizes):
            self.opaque(node)
            return
        for other in known[1:]:
            self.parents[self.root(other.slot)] = self.root(known[0].slot)
        self.channels[node] = known[0]

    def mixing(self) -> frozenset[str]:
        return frozenset(name for name, use in self.uses.items() if use.reads is not None)

    def named(self, blocks: tuple[str, ...]) -> tuple[dict[str, ChannelGroup], dict[str, Layer]]:
        """Groups under the name of their first writer, and the layers in terms of them."""
        roots = [self.root(slot) for slot in range(len(self.parents))]
        fixed = {roots[slot] for slot in self.fixed}
        writers: dict[int, list[str]] = {root: [] for root in roots}
        for name in sorted(self.mixing(), key=list(self.uses).index):
            writers[roots[self.uses[name].writes]].append(name)
        names = {root: found[0] if found else f"fixed{root}" for root, found in writers.items()}
        groups = {}
        for root, found in writers.items():
            homes = {home(name, blocks) for name in found}
            block = homes.pop() if len(homes) == 1 else ""
            groups[names[root]] = ChannelGroup(names[root], self.sizes[root], root in fixed or not found, block)
        layers = {
            name: Layer(
                name,
                "" if use.reads is None else names[roots[use.reads]],
                names[roots[use.writes]],
                *(use.repeat, use.params_each, use.macs_each, use.params_out, use.macs_out),
                home(name, blocks),
            )
            for name, use in self.uses.items()
        }
        return groups, layers


def home(name: str, blocks: tuple[str, ...]) -> str:
    """The block that contains module `name`, or ""."""
    return next((block for block in blocks if name.startswith(f"{block}.")), "")


def shape_of(node: Any) -> tuple[int, ...]:
    """The shape of the node's tensor; empty for what is none."""
    found = node.meta.get("tensor_meta") if isinstance(node, fx.Node) else None
    return tuple(getattr(found, "shape", ()))


def channel_entries(sizes: set[tuple[int, int]]) -> int:
    size, repeat = next(iter(sizes))
    return size * repeat


def over_space(node: fx.Node) -> bool:
    dims = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
    return isinstance(dims, tuple | list) and tuple(dims) in SPATIAL


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
