"""How large the filters are that write a network's channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from automl_kd.models.pruning.coupling import Coupling


def channel_norms(model: nn.Module, coupling: Coupling) -> dict[str, Tensor]:
    """Of each group that can be thinned (channels,): the mean absolute weight of the filters that write a channel,
    summed over the layers that do.
    """
    found = {}
    for group in coupling.free:
        writers = [x.name for x in coupling.touching[group.name] if x.reads and x.writes == group.name]
        found[group.name] = torch.stack([filter_norms(model, name) for name in writers]).sum(dim=0)
    return found


def filter_norms(model: nn.Module, layer: str) -> Tensor:
    """(outputs,): the mean absolute weight of each filter of a layer."""
    weight = model.get_parameter(f"{layer}.weight").detach().cpu().double()
    return weight.abs().flatten(1).mean(dim=1)
