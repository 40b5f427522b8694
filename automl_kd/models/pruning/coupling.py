"""Which channels of a network must be kept or dropped together, which of its blocks can be left out, what each costs.

A *group* is a set of channel dimensions that share one fate: what a convolution writes, what normalisation and
activation pass on, what an addition joins. A *layer* reads one group and writes another (convolution, linear), or
treats each channel of one group by itself (normalisation, depthwise convolution). A *block* is a module whose output is
its input plus a branch; without the branch it is the identity. All of it is found by `models/pruning/tracing.py`.

The body of the paper for which this was written (Gu, Tresp. Search for Better Students to Learn Distilled Knowledge.
2020. arXiv:2001.11612) could not be recovered in full; that channels joined by an addition share a mask is our reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from automl_kd.models.costs.cost import NetworkCost


@dataclass(frozen=True)
class ChannelGroup:
    """`size` channels, named after the first layer that writes them.

    `fixed`: never thinned: images, logits, and what the tracing does not understand. `block`: the block inside which
    the group lives and with which it vanishes, or "".
    """

    name: str
    size: int
    fixed: bool
    block: str


@dataclass(frozen=True)
class Layer:
    """A layer with parameters, and its cost as a function of the widths of the groups that it reads and writes.

    `reads`: "" for a layer that treats channels one by one. `repeat`: inputs for each channel read, more than one
    where a map is flattened. `params_each`, `macs_each`: for one input and one output; `params_out`, `macs_out`: for
    one output, such as a bias. `block`: as of a group.
    """

    name: str
    reads: str
    writes: str
    repeat: int
    params_each: int
    macs_each: int
    params_out: int
    macs_out: int
    block: str

    def cost(self, inputs: int, outputs: int) -> NetworkCost:
        pairs = inputs * self.repeat * outputs
        return NetworkCost(
            params=self.params_each * pairs + self.params_out * outputs,
            macs=self.macs_each * pairs + self.macs_out * outputs,
        )


@dataclass(frozen=True)
class RemovableBlock:
    """A module that may be replaced by the identity.

    `branch`: the module whose output is added to the block's input. `after`: modules without parameters that follow
    the addition inside the block, in order; they stay. `stage`: the module that contains the block.
    """

    name: str
    branch: str
    after: tuple[str, ...]
    stage: str


@dataclass(frozen=True)
class Selection:
    """A subgraph: of each group that can be thinned the channels kept, ascending, and the blocks left out."""

    channels: Mapping[str, tuple[int, ...]]
    removed: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Coupling:
    """A traced network. `rest`: the cost of what no layer accounts for; it never changes."""

    groups: Mapping[str, ChannelGroup]
    layers: Mapping[str, Layer]
    blocks: Mapping[str, RemovableBlock]
    rest: NetworkCost

    @cached_property
    def free(self) -> tuple[ChannelGroup, ...]:
        """The groups that can be thinned."""
        return tuple(group for group in self.groups.values() if not group.fixed)

    @cached_property
    def stages(self) -> Mapping[str, tuple[str, ...]]:
        """Names of the blocks in each stage, in order."""
        names = dict.fromkeys(block.stage for block in self.blocks.values())
        return {stage: tuple(name for name, block in self.blocks.items() if block.stage == stage) for stage in names}

    @cached_property
    def touching(self) -> Mapping[str, tuple[Layer, ...]]:
        """The layers whose cost depends on the width of each group."""
        return {name: tuple(x for x in self.layers.values() if name in (x.reads, x.writes)) for name in self.groups}

    def inside(self, block: str) -> tuple[Layer, ...]:
        return tuple(layer for layer in self.layers.values() if layer.block == block)

    @cached_property
    def whole(self) -> Selection:
        return Selection({group.name: tuple(range(group.size)) for group in self.free})

    def widths(self, selection: Selection) -> dict[str, int]:
        """Channels of every group; those of a block that is left out keep their number, which costs nothing."""
        return {
            name: group.size if group.fixed else len(selection.channels[name]) for name, group in self.groups.items()
        }

    def cost(self, selection: Selection) -> NetworkCost:
        """What `models.costs.cost.count_cost` finds on the network of `selection`, without building it."""
        layers = [layer for layer in self.layers.values() if layer.block not in selection.removed]
        return add(self.rest, total_cost(layers, self.widths(selection)))


def total_cost(layers: Iterable[Layer], widths: Mapping[str, int]) -> NetworkCost:
    """The cost of `layers` at these widths of the groups."""
    params, macs = 0, 0
    for layer in layers:
        cost = layer.cost(widths[layer.reads] if layer.reads else 0, widths[layer.writes])
        params, macs = params + cost.params, macs + cost.macs
    return NetworkCost(params, macs)


def add(one: NetworkCost, two: NetworkCost) -> NetworkCost:
    return NetworkCost(one.params + two.params, one.macs + two.macs)


def cost_difference(one: NetworkCost, two: NetworkCost) -> NetworkCost:
    return NetworkCost(one.params - two.params, one.macs - two.macs)
