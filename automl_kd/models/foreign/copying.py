"""A copy of any network."""

from __future__ import annotations

from copy import deepcopy
from typing import TypeVar

from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def copy_network(model: Network) -> Network:
    """A deep copy, with hooks and feature layers.

    Some modules keep what they computed, as the old `weight_norm` keeps its weight, and `deepcopy` refuses a tensor
    that was computed. They compute it again in the next pass: the copy gets its values.
    """
    kept = (value for module in model.modules() for value in vars(module).values() if isinstance(value, Tensor))
    return deepcopy(model, {id(value): value.detach().clone() for value in kept if not value.is_leaf})
