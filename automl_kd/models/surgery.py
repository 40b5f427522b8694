"""From a network and a selection of its channels and blocks to the small dense network that computes the same.

A gate multiplies channels where they are *read* (by a convolution over all channels, or a linear layer) and branches
where they end. Multiplying where they are read is what makes a gate of zero the same as removal: normalisation between
would turn a zero that was written into something else.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from automl_kd.errors import ConfigError
from automl_kd.models import build_model
from automl_kd.models.blocks import initialise
from automl_kd.models.cost import Cost
from automl_kd.models.coupling import Block, Coupling, Layer, Selection
from automl_kd.models.tracing import trace
from automl_kd.space import TaskShape

VERSION = 1
"""Of the description's format."""

Gates = Mapping[str, Tensor]
"""By group (channels,); by block and by stage a number. What is absent is not gated. Looked up at every pass."""


def attach(model: nn.Module, coupling: Coupling, gates: Gates) -> list[RemovableHandle]:
    """Multiply `gates` into the passes of `model`, until the handles are removed. Weights stay as they are."""
    handles = []
    for layer in coupling.layers.values():
        if layer.reads and not coupling.groups[layer.reads].fixed:
            module = model.get_submodule(layer.name)
            handles.append(module.register_forward_pre_hook(channel_gate(gates, layer)))
    branches = ((model.get_submodule(block.branch), branch_gate(gates, block)) for block in coupling.blocks.values())
    return handles + [module.register_forward_hook(hook) for module, hook in branches]


def channel_gate(gates: Gates, layer: Layer) -> Callable[[nn.Module, tuple[Tensor]], tuple[Tensor] | None]:
    def multiply(_module: nn.Module, given: tuple[Tensor]) -> tuple[Tensor] | None:
        if layer.reads not in gates:
            return None
        gate = gates[layer.reads].to(given[0].dtype).repeat_interleave(layer.repeat)
        return (given[0] * gate.view(1, -1, *[1] * (given[0].ndim - 2)),)

    return multiply


def branch_gate(gates: Gates, block: Block) -> Callable[[nn.Module, tuple[Tensor], Tensor], Tensor]:
    def multiply(_module: nn.Module, _given: tuple[Tensor], made: Tensor) -> Tensor:
        for name in (block.name, block.stage):
            made = made * gates[name].to(made.dtype) if name in gates else made
        return made

    return multiply


def fold(model: nn.Module, coupling: Coupling, gates: Gates) -> None:
    """Multiply `gates` into the weights in place: without gates, `model` then computes what it did with them."""
    with torch.no_grad():
        for layer in coupling.layers.values():
            if layer.reads in gates:
                weight = model.get_parameter(f"{layer.name}.weight")
                gate = gates[layer.reads].to(weight.dtype).repeat_interleave(layer.repeat)
                weight.mul_(gate.view(1, -1, *[1] * (weight.ndim - 2)))
        for block in coupling.blocks.values():
            for name in (block.name, block.stage):
                for parameter in model.get_submodule(block.branch).parameters() if name in gates else ():
                    parameter.mul_(gates[name].to(parameter.dtype))


def mask(coupling: Coupling, selection: Selection) -> dict[str, Tensor]:
    """The gates, zeros and ones in float64, under which the whole network computes what the subgraph does."""
    gates = {block: torch.tensor(float(block not in selection.removed)) for block in coupling.blocks}
    for group in coupling.free:
        gates[group.name] = torch.zeros(group.size, dtype=torch.float64)
        gates[group.name][list(selection.channels[group.name])] = 1
    return gates


class Passed(nn.Module):
    """What is left of a block without its branch: the modules that follow the addition, under their own names."""

    def __init__(self, after: Mapping[str, nn.Module]) -> None:
        super().__init__()
        for name, module in after.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        for module in self.children():
            x = module(x)
        return x


def thin(model: nn.Module, coupling: Coupling, selection: Selection) -> nn.Module:
    """A copy of `model` with the selected channels and blocks alone; taps, modes and other modules stay as they are.

    `model` carries no gates.
    """
    small = copy.deepcopy(model)
    for layer in coupling.layers.values():
        if layer.block not in selection.removed:
            cut(small.get_submodule(layer.name), layer, selection.channels)
    for name in selection.removed:
        block = coupling.blocks[name]
        after = {inner.removeprefix(f"{name}."): small.get_submodule(inner) for inner in block.after}
        small.set_submodule(name, Passed(after))
    return small


def cut(module: nn.Module, layer: Layer, channels: Mapping[str, tuple[int, ...]]) -> None:
    """Keep the inputs and outputs of one layer that `channels` names; groups that it does not name stay whole."""
    for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
        small = tensor.detach()
        if layer.writes in channels and tensor.ndim:
            small = small.index_select(0, rows(channels[layer.writes], 1, tensor))
        if layer.reads in channels and tensor.ndim > 1:
            small = small.index_select(1, rows(channels[layer.reads], layer.repeat, tensor))
        is_parameter = isinstance(tensor, nn.Parameter)
        setattr(module, name, nn.Parameter(small, tensor.requires_grad) if is_parameter else small)
    restate(module)


def rows(kept: tuple[int, ...], repeat: int, like: Tensor) -> Tensor:
    first = torch.tensor(kept, dtype=torch.int64, device=like.device)[:, None] * repeat
    return (first + torch.arange(repeat, device=like.device)).flatten()


def restate(module: nn.Module) -> None:
    """Set the sizes that a layer states beside its tensors from the tensors."""
    if isinstance(module, nn.Conv2d):
        module.out_channels = module.weight.shape[0]
        if module.groups > 1:
            module.groups = module.in_channels = module.out_channels
        module.in_channels = module.weight.shape[1] * module.groups
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.running_mean is not None:
        module.num_features = len(module.running_mean)


@dataclass(frozen=True, kw_only=True)
class Description:
    """A student inside a model, as a record from which it is rebuilt.

    `model`: the super-graph, as in `build_model`. `channels`: kept indices by group; `removed`: blocks left out.
    `cost`: for one image of the shape for which it was found. `layers`: for people and drawings, one entry for each
    convolution and linear layer of the super-graph: name, stage, block, kept and total outputs, params, macs.
    `scores`: of each group's channels and, under the block's name, of each block, as they were ranked; may be empty.
    """

    model: str
    channels: Mapping[str, tuple[int, ...]]
    removed: tuple[str, ...]
    cost: Cost
    layers: tuple[Mapping[str, str | int], ...] = ()
    scores: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def selection(self) -> Selection:
        return Selection(self.channels, frozenset(self.removed))

    def to_json(self) -> str:
        return json.dumps({"version": VERSION, **asdict(self)}, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Description:
        """`ConfigError` for text that is no description, or one of another version."""
        try:
            record: dict[str, Any] = json.loads(text)
            version = record.pop("version")
            if version != VERSION:
                raise ConfigError(
                    f"this description of a student has version {version} and {VERSION} was wanted; search it again"
                )
            tuples = {name: tuple(kept) for name, kept in record.pop("channels").items()}
            scores = {name: tuple(values) for name, values in record.pop("scores").items()}
            lists = {name: tuple(record.pop(name)) for name in ("removed", "layers")}
            return Description(**{**record, **lists, "cost": Cost(**record["cost"])}, channels=tuples, scores=scores)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"this is no description of a student inside a model ({type(error).__name__}: {error}); "
                "give a file that the method subgraph wrote"
            ) from error


def describe(
    model: str, coupling: Coupling, selection: Selection, scores: Mapping[str, tuple[float, ...]] | None = None
) -> Description:
    """The record of `selection` in the model called `model`."""
    widths = coupling.widths(selection)
    layers: list[dict[str, str | int]] = []
    for layer in coupling.layers.values():
        if layer.reads:
            gone = layer.block in selection.removed
            cost = Cost(0, 0) if gone else layer.cost(widths[layer.reads], widths[layer.writes])
            kept, size = 0 if gone else widths[layer.writes], coupling.groups[layer.writes].size
            stage = layer.name.partition(".")[0]
            layers.append({"name": layer.name, "stage": stage, "block": layer.block, "kept": kept, "total": size})
            layers[-1] |= asdict(cost)
    return Description(
        model=model,
        channels=selection.channels,
        removed=tuple(sorted(selection.removed)),
        cost=coupling.cost(selection),
        layers=tuple(layers),
        scores=scores or {},
    )


def build_from(description: Description, shape: TaskShape) -> nn.Module:
    """The described student, freshly initialised for `shape`; draws from torch's global generator.

    Initialised after it was thinned, as the variance of He's initialisation follows the widths. `ConfigError` if the
    description does not fit its model.
    """
    model = build_model(description.model, shape)
    coupling = trace(model, shape)
    check(description, coupling)
    small = thin(model, coupling, description.selection)
    initialise(small)
    for module in small.modules():
        if isinstance(module, nn.Linear):
            module.reset_parameters()
    return small


def check(description: Description, coupling: Coupling) -> None:
    """Raise `ConfigError` unless the description names just the groups and blocks of `coupling`, within their sizes."""
    sizes = {group.name: group.size for group in coupling.free}
    wrong = sorted(set(sizes) ^ set(description.channels)) + sorted(set(description.removed) - set(coupling.blocks))
    for name, kept in description.channels.items():
        legal = bool(kept) and list(kept) == sorted(set(kept)) and kept[0] >= 0 and kept[-1] < sizes.get(name, 0)
        wrong += [] if legal else [name]
    if wrong:
        raise ConfigError(
            f"a description of a student does not fit model {description.model!r}: {wrong[0]!r} is missing, unknown "
            "or out of range; give the file that was written for this model"
        )
