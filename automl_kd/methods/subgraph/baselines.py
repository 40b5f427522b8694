"""Subgraphs that need no search, of the same cost as one that was searched: scores for the same rank and fill.

Without them a found student proves nothing: many searched networks are no better than random ones of equal cost.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import nn

from automl_kd.methods.subgraph.budget import PartScores, even
from automl_kd.models.pruning.coupling import Coupling
from automl_kd.models.pruning.magnitude import channel_norms, filter_norms

SPREAD = 2.0
"""Random layers are favoured or disfavoured by up to this factor."""

Baseline = Literal["uniform", "shallow", "random", "magnitude"]


def baseline_scores(name: Baseline, model: nn.Module, coupling: Coupling, rng: np.random.Generator) -> PartScores:
    if name == "uniform":
        return uniform(coupling)
    if name == "shallow":
        return shallow(coupling)
    return random(coupling, rng) if name == "random" else magnitude(model, coupling)


def uniform(coupling: Coupling) -> PartScores:
    """All blocks, all layers thinned by the same fraction."""
    return PartScores({group.name: even(group.size) for group in coupling.free}, dict.fromkeys(coupling.blocks, np.inf))


def shallow(coupling: Coupling) -> PartScores:
    """All channels; of the blocks equally many in each stage, the first ones. What no block fits is filled up thinly.

    Below the cost of the network without blocks it thins uniformly.
    """
    blocks: dict[str, float] = {}
    for names in coupling.stages.values():
        blocks |= dict(zip(names, even(len(names)).tolist(), strict=True))
    return PartScores({group.name: 1 + even(group.size) for group in coupling.free}, blocks)


def random(coupling: Coupling, rng: np.random.Generator) -> PartScores:
    """Channels at random in layers that are favoured at random, and random blocks.

    Independent scores of channels alone would average out to uniform widths.
    """
    channels = {}
    for group in coupling.free:
        favour = SPREAD ** rng.uniform(-1, 1)
        channels[group.name] = favour * even(group.size)[torch.from_numpy(rng.permutation(group.size))]
    return PartScores(channels, {name: float(rng.uniform(0.1, SPREAD)) for name in coupling.blocks})


def magnitude(model: nn.Module, coupling: Coupling) -> PartScores:
    """Norms of the filters that write a channel, over their mean in the layer; of a block, over those of all blocks.

    Li, Kadav, Durdanovic, Samet, Graf. Pruning Filters for Efficient ConvNets. 2016. arXiv:1608.08710, section 3.1,
    with the L1 norm as there; ranked in all layers at once, where the paper sets a rate for each.
    """
    channels = {name: norms / norms.mean() for name, norms in channel_norms(model, coupling).items()}
    branches = {
        name: float(sum(filter_norms(model, x.name).mean() for x in coupling.inside(name) if x.reads))
        for name in coupling.blocks
    }
    mean = sum(branches.values()) / max(len(branches), 1)
    return PartScores(channels, {name: value / mean for name, value in branches.items()})
