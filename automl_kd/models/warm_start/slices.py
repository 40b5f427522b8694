"""A trained network's weights in a student of other depth and widths.

Of a wider layer the student takes the channels whose filters are largest (Li et al. 2016, arXiv:1608.08710, as the
`magnitude` of subgraphs does), the same ones wherever they are written and read. A narrower layer fills the first
channels of the student's; its other channels keep their drawn weights, and what reads them begins at zero, so that they
change nothing yet (Chen, Goodfellow, Shlens. Net2Net. 2015. arXiv:1511.05641 has the idea, not this rule). Blocks that
the trained network lacks begin as identities. Our own construction as a whole; no paper's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from automl_kd.errors import ConfigError
from automl_kd.models.pruning.coupling import Coupling
from automl_kd.models.pruning.magnitude import channel_norms
from automl_kd.models.pruning.tracing import trace
from automl_kd.models.warm_start.alignment import align
from automl_kd.models.warm_start.layers import NORM_LAYERS, RoleLayer, layers_in_order
from automl_kd.models.warm_start.started import NothingToTakeError, WarmStart
from automl_kd.registry import name_type
from automl_kd.space import InputShape


@dataclass(frozen=True, eq=False)
class ChannelOrder:
    """In which order a student takes the channels of the trained network.

    `orders`: of each group of channels that it cannot take whole, all of them, the first the most wanted.
    """

    coupling: Coupling | None
    orders: Mapping[str, Tensor] = field(default_factory=dict)

    def written(self, layer: str, size: int) -> Tensor:
        return self.order(self.group(layer, "writes"), size)

    def read(self, layer: str, size: int) -> Tensor:
        """Of `size` inputs, which may be several for each channel."""
        repeat = self.repeat(layer)
        first = self.order(self.group(layer, "reads"), size // repeat)[:, None] * repeat
        return (first + torch.arange(repeat)).flatten()

    def repeat(self, layer: str) -> int:
        """Inputs for each channel that the layer reads."""
        found = self.coupling.layers.get(layer) if self.coupling else None
        return found.repeat if found else 1

    def group(self, layer: str, side: str) -> str:
        found = self.coupling.layers.get(layer) if self.coupling else None
        return getattr(found, side) if found else ""

    def order(self, group: str, size: int) -> Tensor:
        found = self.orders.get(group)
        return torch.arange(size) if found is None else found


def take_weights(student: nn.Module, trained: nn.Module, shape: InputShape) -> WarmStart:
    """Overwrite in place what of `student` has a counterpart in `trained`; both on the processor.

    `shape`: of the images of a batch, which either makes its own of. Layers are paired by what they do and where they
    stand (`align`). `NothingToTakeError` if no layer of more than a normalisation has a counterpart.
    """
    own, theirs = layers_in_order(student, shape), layers_in_order(trained, shape)
    pairs = align(own, theirs)
    require_some(own, pairs, student, trained)
    channels = choose_channels(student, trained, traced(trained, shape), pairs)
    inner = traced(student, shape)
    taken = 0
    with torch.no_grad():
        for layer in own:
            if layer.name in pairs:
                there = pairs[layer.name]
                repeats = (ChannelOrder(inner).repeat(layer.name), channels.repeat(there))
                if repeats[0] == repeats[1]:
                    taken += fill_layer(
                        student.get_submodule(layer.name), trained.get_submodule(there), there, channels
                    )
        taken += sum(take_others(student, trained, {layer.name for layer in own}))
        identities = [*silence_blocks(student, inner, pairs), *open_shortcuts(student, own, inner, pairs)]
    return WarmStart(taken / max(1, count(student)), tuple(pairs), tuple(identities))


def count(model: nn.Module) -> int:
    return sum(one.numel() for one in model.parameters())


def require_some(own: Sequence[RoleLayer], pairs: Mapping[str, str], student: nn.Module, trained: nn.Module) -> None:
    mixing = [layer.name for layer in own if layer.mixes]
    if not any(name in pairs for name in mixing[:-1]):  # classifiers are alike in any two networks
        raise NothingToTakeError(
            f"student.init: no layer of the student, {name_type(student)}, does what one of the "
            f"{type(trained).__name__} does that it would begin with (the same kernel and stride at the same "
            'resolution); choose a student of the same family, or set student.init = "fresh"'
        )


def traced(model: nn.Module, shape: InputShape) -> Coupling | None:
    """None for a network whose channels cannot be followed; its layers are taken from their first channel on."""
    try:
        return trace(model, shape)
    except ConfigError:
        return None


def choose_channels(
    student: nn.Module, trained: nn.Module, coupling: Coupling | None, pairs: Mapping[str, str]
) -> ChannelOrder:
    """The largest first. Where all that a student has of a group is of one width, they keep the order they have."""
    if coupling is None:
        return ChannelOrder(None)
    widths = defaultdict(set)
    for name, there in pairs.items():
        if there in coupling.layers:
            widths[coupling.layers[there].writes].add(len(next(student.get_submodule(name).parameters())))
    orders = {}
    for group, norms in channel_norms(trained, coupling).items():
        if (found := widths[group]) and min(found) < len(norms):
            order = norms.argsort(descending=True, stable=True)
            if len(found) == 1:
                order = torch.cat([order[: min(found)].sort().values, order[min(found) :]])
            orders[group] = order
    return ChannelOrder(coupling, orders)


def fill_layer(module: nn.Module, trained: nn.Module, name: str, channels: ChannelOrder) -> int:
    """Overwrite what fits of one layer; how many numbers of its parameters were taken."""
    grouped = isinstance(module, nn.Conv2d) and 1 < module.groups < module.in_channels
    reads = not isinstance(module, NORM_LAYERS) and not (isinstance(module, nn.Conv2d) and module.groups > 1)
    taken = 0
    for key, own in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
        theirs = getattr(trained, key, None)
        if not own.ndim or (grouped and (theirs is None or theirs.shape != own.shape)):
            continue
        parts = getattr(module, "row_parts", 1)
        if theirs is not None and parts > 1 and len(theirs) % parts == 0:
            taken += sum(map(fill_rows, own.chunk(parts), theirs.chunk(parts)))
            continue
        rows = min(len(own), len(next(trained.parameters())))
        own[:rows] = 0
        if theirs is None:  # a bias that the other network lacks
            continue
        part = theirs.index_select(0, channels.written(name, len(theirs))[:rows])
        if reads and own.ndim > 1:
            columns = min(own.shape[1], theirs.shape[1])
            part = part.index_select(1, channels.read(name, theirs.shape[1])[:columns])
            own[:rows, :columns] = part
        else:
            own[:rows] = part
        taken += part.numel() if isinstance(own, nn.Parameter) else 0
    return taken


def fill_rows(own: Tensor, theirs: Tensor) -> int:
    """Of one of a layer's parts that stand below each other, such as queries, keys and values, the first rows."""
    size = [min(pair) for pair in zip(own.shape, theirs.shape, strict=True)]
    own[: size[0]] = 0
    place = tuple(slice(end) for end in size)
    own[place] = theirs[place]
    return own[place].numel()


def take_others(student: nn.Module, trained: nn.Module, done: set[str]) -> Iterator[int]:
    """Parameters that belong to no known layer, such as class tokens: those of the same name and shape."""
    theirs = dict(trained.named_parameters())
    for name, own in student.named_parameters():
        if name.rpartition(".")[0] not in done and name in theirs and theirs[name].shape == own.shape:
            own.copy_(theirs[name])
            yield own.numel()


def silence_blocks(student: nn.Module, coupling: Coupling | None, taken: Collection[str]) -> Iterator[str]:
    """Make blocks of which nothing was taken pass on what they are given: the end of their branch becomes zero.

    `taken`: names of layers.
    """
    for block in coupling.blocks.values() if coupling else ():
        if any(name.startswith(f"{block.name}.") for name in taken):
            continue
        inside = [one for one in student.get_submodule(block.branch).modules() if has_scale(one)]
        if inside:
            for parameter in inside[-1].parameters(recurse=False):
                parameter.zero_()
            yield block.name


def has_scale(module: nn.Module) -> bool:
    return isinstance(module, (*NORM_LAYERS, nn.Conv2d, nn.Linear)) and any(
        True for _ in module.parameters(recurse=False)
    )


def open_shortcuts(
    student: nn.Module, own: Sequence[RoleLayer], coupling: Coupling | None, pairs: Mapping[str, str]
) -> Iterator[str]:
    """Make projections of one pixel, where the trained network has none in a block that was taken, pass on channels."""
    taken = {layer.block for layer in own if layer.name in pairs and layer.block}
    for layer in own:
        module = student.get_submodule(layer.name)
        if layer.name in pairs or layer.block not in taken or layer.kind[:3] != ("conv", "full", (1, 1)):
            continue
        if coupling is None or layer.name not in coupling.layers or not isinstance(module, nn.Conv2d):
            continue
        channels = min(module.weight.shape[:2])
        module.weight[:channels] = 0
        module.weight[range(channels), range(channels)] = 1
        yield layer.name
