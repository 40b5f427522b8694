"""What a network costs: parameters, and multiply-adds for one image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from automl_kd import space as spaces
from automl_kd.models.black_box.network import BlackBox
from automl_kd.models.costs.multiply_adds import counting
from automl_kd.models.foreign.adoption import adopt
from automl_kd.models.teacher_mean import TeacherMean, member_networks
from automl_kd.space import Architecture, InputShape, SearchSpace, Values

Build = Callable[[Values, InputShape], nn.Module]


@dataclass(frozen=True)
class NetworkCost:
    """`params`: trainable or not, buffers excluded. `macs`: multiply-adds of convolutions and matrix products."""

    params: int
    macs: int


def count_cost(model: nn.Module, shape: InputShape) -> NetworkCost:
    """The cost of `model` for one image of `shape`, by running it once in evaluation mode; it is left as it was.

    The network must be on one device, which may be "meta", and of one floating type. The count is the same on each.
    A network in a file is counted by its graph, `ConfigError` if that cannot be done; several teachers one by one.
    """
    if isinstance(model, BlackBox):
        return NetworkCost(params=model.params, macs=model.macs)
    if isinstance(model, TeacherMean):
        costs = [count_cost(member, shape) for member in member_networks(model)]
        return NetworkCost(sum(one.params for one in costs), sum(one.macs for one in costs))
    with evaluating(model), torch.no_grad(), counting() as counter:
        model(blank_inputs(model, shape))
    return NetworkCost(params=sum(parameter.numel() for parameter in model.parameters()), macs=counter.macs)


def blank_inputs(model: nn.Module, shape: InputShape, batch: int = 1) -> Tensor:
    """Inputs of `shape` that say nothing, on the device and in the floating type of the model's parameters."""
    return shape.blank(batch, next(model.parameters(), torch.empty(0)))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards each module has the mode it had."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def cost_of(space: SearchSpace, architecture: Architecture, shape: InputShape) -> NetworkCost:
    """The cost of a point of `space`, from the space itself, or counted once and remembered.

    `InfeasibleArchitectureError` for a point outside the space.
    """
    spaces.check_architecture(space, architecture)
    if space.cost is not None:
        return NetworkCost(*space.cost(architecture.as_dict(), shape))
    return cost_of_build(space.build, architecture, shape)


@lru_cache(maxsize=100_000)
def non_embedding_params(build: Build, architecture: Architecture, shape: InputShape) -> int:
    """Parameters of a student without those of its embeddings, which cost a text no multiply-adds."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        network = adopt(build(architecture.as_dict(), shape), shape)
    tables = [layer.weight for layer in network.modules() if isinstance(layer, nn.Embedding)]
    return sum(one.numel() for one in network.parameters()) - sum(one.numel() for one in tables)


@lru_cache(maxsize=100_000)
def cost_of_build(build: Build, architecture: Architecture, shape: InputShape) -> NetworkCost:
    """Keyed by the function that builds, which two spaces do not share by accident as they may a name.

    Built with real weights: at 32x32 torch's rules for shapes alone (device "meta") take longer than the arithmetic.
    """
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        model = adopt(build(architecture.as_dict(), shape), shape)
    return count_cost(model, shape)
