"""From a network and a selection of its channels and blocks to the small dense network that computes the same.

A gate multiplies channels where they are *read* (by a convolution over all channels, or a linear layer) and branches
where they end. Multiplying where they are read is what makes a gate of zero the same as removal: normalisation between
would turn a zero that was written into something else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from automl_kd.models.blocks import initialise
from automl_kd.models.foreign.copying import copy_network
from automl_kd.models.pruning.coupling import Coupling, Layer, RemovableBlock, Selection
from automl_kd.models.pruning.description import Description, check_description
from automl_kd.models.pruning.tracing import trace
from automl_kd.space import InputShape

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


def branch_gate(gates: Gates, block: RemovableBlock) -> Callable[[nn.Module, tuple[Tensor], Tensor], Tensor]:
    def multiply(_module: nn.Module, _given: tuple[Tensor], made: Tensor) -> Tensor:
        for name in (block.name, block.stage):
            made = made * gates[name].to(made.dtype) if name in gates else made
        return made

    return multiply


def fold_gates(model: nn.Module, coupling: Coupling, gates: Gates) -> None:
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
        if any(getattr(module, "inplace", False) for module in self.children()):
            x = x.clone()  # the block before keeps what it made for its gradient
        for module in self.children():
            x = module(x)
        return x


def thin_network(model: nn.Module, coupling: Coupling, selection: Selection) -> nn.Module:
    """A copy of `model` with the selected channels and blocks; feature layers, modes and other modules stay.

    `model` carries no gates.
    """
    small = copy_network(model)
    for layer in coupling.layers.values():
        if layer.block not in selection.removed:
            cut_layer(small.get_submodule(layer.name), layer, selection.channels)
    for name in selection.removed:
        block = coupling.blocks[name]
        after = {inner.removeprefix(f"{name}."): small.get_submodule(inner) for inner in block.after}
        small.set_submodule(name, Passed(after))
    return small


def cut_layer(module: nn.Module, layer: Layer, channels: Mapping[str, tuple[int, ...]]) -> None:
    """Keep the inputs and outputs of one layer that `channels` names; groups that it does not name stay whole."""
    for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
        small = tensor.detach()
        if layer.writes in channels and tensor.ndim:
            small = small.index_select(0, channel_rows(channels[layer.writes], 1, tensor))
        if layer.reads in channels and tensor.ndim > 1:
            small = small.index_select(1, channel_rows(channels[layer.reads], layer.repeat, tensor))
        is_parameter = isinstance(tensor, nn.Parameter)
        setattr(module, name, nn.Parameter(small, tensor.requires_grad) if is_parameter else small)
    restate(module)


def channel_rows(kept: tuple[int, ...], repeat: int, like: Tensor) -> Tensor:
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


def carve(description: Description, model: nn.Module, shape: InputShape) -> nn.Module:
    """The described student inside `model`, freshly initialised for `shape`; draws from torch's global generator.

    Initialised after it was thinned, as the variance of He's initialisation follows the widths. `ConfigError` if the
    description does not fit the model.
    """
    coupling = trace(model, shape)
    check_description(description, coupling)
    small = thin_network(model, coupling, description.selection)
    initialise(small)
    for module in small.modules():
        if isinstance(module, nn.Linear):
            module.reset_parameters()
    return small
