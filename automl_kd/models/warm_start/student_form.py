"""A teacher as a student would be: a network that takes the students' images and names the data's classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from automl_kd.errors import ConfigError
from automl_kd.models.costs.cost import blank_inputs, evaluating
from automl_kd.models.foreign.adoption import find_door
from automl_kd.models.foreign.copying import copy_network
from automl_kd.models.input_adapter import InputAdapter, adapt, find_adapter, remove_adapter
from automl_kd.models.pruning.surgery import restate
from automl_kd.models.warm_start.layers import RoleLayer, layers_in_order
from automl_kd.registry import name_type
from automl_kd.space import InputShape


def as_student(teacher: nn.Module, shape: InputShape, size: int) -> nn.Module:
    """The network itself where it is that already, else a copy with its input's change and its classes worked in.

    `shape`: of the images of a batch, and the data's classes. `size`: height and width of the students' images, 0 for
    those of the batch. The change of mean, deviation and order of colours goes into the first convolution, and from
    there into the running mean of the normalisation after it: exact but for the outermost pixels, where zeros are
    padded. Of the last layer the rows of the data's classes are kept. `ConfigError` for a network without such layers,
    or one that cannot be run at the students' size.
    """
    adapter = find_adapter(teacher)
    if adapter is None and not size:
        return teacher
    layers, network = layers_in_order(teacher, shape), copy_network(teacher)
    remove_adapter(network)
    if adapter is not None:
        if adapter.factor or adapter.reverse:
            fold_input(network, layers, adapter)
        if adapter.outputs:
            keep_outputs(network, [one for one in layers if one.mixes][-1:], adapter.outputs)
    if (door := find_door(network)) is not None:
        door.classes = shape.classes
    adapt(network, InputAdapter(size=size))
    if (own := adapter.size if adapter else 0) != size:
        require_runs(network, shape, own or shape.height, size or shape.height)
    return network


def require_runs(network: nn.Module, shape: InputShape, own: int, size: int) -> None:
    """`own`, `size`: height of the images that it takes as a teacher, and of the students'."""
    try:
        with evaluating(network), torch.no_grad():
            network(blank_inputs(network, shape))
    except Exception as error:  # of anybody's forward function
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ConfigError(
            f"the teacher, {name_type(network)} for images of {own}x{own}, cannot be run on those of "
            f"{size}x{size} that its students take ({reason}), so that they cannot take over its layers; "
            f"set data.resolution = {own}, or let students begin fresh"
        ) from error


def fold_input(network: nn.Module, layers: Sequence[RoleLayer], adapter: InputAdapter) -> None:
    """Let the first convolution do what the adapter does to the values of images."""
    stem = network.get_submodule(layers[0].name) if layers else None
    if not isinstance(stem, nn.Conv2d) or stem.groups > 1:
        raise ConfigError(
            f"the teacher, {name_type(network)}, does not begin with a convolution over all colours, into which "
            "its preprocessing could be worked for students that take over its weights; set data.mean and data.std to "
            "what it takes, or let students begin fresh"
        )
    channels = stem.in_channels
    factor, shift = (
        torch.tensor(x).view(1, -1, 1, 1)
        for x in (adapter.factor or (1.0,) * channels, adapter.shift or (0.0,) * channels)
    )
    with torch.no_grad():
        weight = stem.weight.flip(1) if adapter.reverse else stem.weight
        constant = (weight * shift.to(weight)).sum(dim=(1, 2, 3))
        stem.weight.copy_(weight * factor.to(weight))
        after = network.get_submodule(layers[1].name) if len(layers) > 1 else None
        if stem.bias is not None:
            stem.bias += constant
        elif isinstance(after, nn.BatchNorm2d) and after.running_mean is not None:
            after.running_mean -= constant


def keep_outputs(network: nn.Module, last: Sequence[RoleLayer], outputs: tuple[int, ...]) -> None:
    head = network.get_submodule(last[0].name) if last else network
    if not isinstance(head, nn.Linear | nn.Conv2d) or len(head.weight) <= max(outputs):
        raise ConfigError(
            f"the teacher, {name_type(network)}, does not end with a layer of a row for each of its outputs, of "
            "which students that take over its weights would keep those of the data's classes; let students begin fresh"
        )
    for name, tensor in list(head.named_parameters(recurse=False)):
        rows = tensor.detach().index_select(0, torch.tensor(outputs, device=tensor.device))
        setattr(head, name, nn.Parameter(rows, tensor.requires_grad))
    restate(head)
