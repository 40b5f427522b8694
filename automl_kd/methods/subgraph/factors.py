"""The factors of a super-graph: one for each channel, block and stage that may vanish, all ones at the start.

They lie in one vector, so that a proximal step is a handful of operations however many layers there are. Nothing here
waits for the device, except `alive` and `scores`, which are asked for once in an epoch or a search.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from automl_kd.methods.subgraph.proximal import apg, ista
from automl_kd.models.pruning.coupling import Coupling, Selection, total_cost
from automl_kd.training.checkpoint import State

FactorKind = Literal["channel", "block", "stage"]
Remedy = Literal["frozen", "mean", "max"]
Measure = Literal["params", "macs"]

FAINT = 1e-3
"""The least factor of a channel that the minimum width protects: small, and not gone."""

MEMORY = 0.99
"""Of the running mean of |g dKL/dg|."""


class SubgraphFactors:
    """`kinds`: which factors exist. `least`: the minimum width of each group, which is never undercut.

    `values` (parts,): channels group by group, then blocks, then stages; a leaf of the graph, in float32. `taylor`: the
    running mean of |g dKL/dg|, the first-order change of the objective if a part were removed.
    """

    def __init__(
        self, coupling: Coupling, kinds: frozenset[FactorKind], least: Mapping[str, int], device: torch.device
    ) -> None:
        self.coupling = coupling
        self.groups = coupling.free if "channel" in kinds else ()
        self.blocks = tuple(coupling.blocks) if "block" in kinds else ()
        self.stages = tuple(coupling.stages) if "stage" in kinds else ()
        self.names = (*(group.name for group in self.groups), *self.blocks, *self.stages)
        self.sizes = [*(group.size for group in self.groups), *[1] * (len(self.blocks) + len(self.stages))]
        self.channels = sum(group.size for group in self.groups)
        self.values = torch.ones(sum(self.sizes), device=device, requires_grad=True)
        self.momentum = torch.zeros(sum(self.sizes), device=device)
        self.taylor = torch.zeros(sum(self.sizes), device=device)
        self.owner = torch.repeat_interleave(torch.arange(len(self.sizes)), torch.tensor(self.sizes)).to(device)
        self.table, self.protected = (
            x.to(device) for x in channel_positions(self.sizes[: len(self.groups)], self.names, least)
        )

    def gates(self) -> dict[str, Tensor]:
        """Views of the factors by name, for `surgery.attach`; gradients flow back to `values`."""
        return dict(zip(self.names, torch.split(self.values, self.sizes), strict=True))

    def step(self, rate: float, penalty: Tensor, remedy: Remedy, *, accelerate: bool) -> None:
        """One proximal step from the gradient in `values.grad`, which is used up. `penalty` (parts,): lambda alpha."""
        assert self.values.grad is not None
        with torch.no_grad():
            g, grad = self.values.detach(), self.values.grad
            self.taylor.mul_(MEMORY).add_((g * grad).abs(), alpha=1 - MEMORY)
            if accelerate:
                moved, self.momentum = apg(g, grad, self.momentum, rate, rate * penalty)
            else:
                moved = ista(g, grad, rate, rate * penalty)
            moved = torch.where(self.first(g - rate * grad), moved.clamp(min=FAINT), moved)
            if remedy != "frozen":
                scale = self.scale(moved, remedy)
                moved, self.momentum = moved / scale, self.momentum / scale
            self.values.copy_(moved)
        self.values.grad = None

    def first(self, v: Tensor) -> Tensor:
        """Which channels are among the largest of their group, as many as its minimum width."""
        marked = torch.zeros(len(v) + 1, dtype=torch.bool, device=v.device)
        if not self.groups:
            return marked[:-1]
        padded = torch.cat([v, v.new_full((1,), -torch.inf)])[self.table]
        ranked = self.table.gather(1, padded.argsort(dim=1, descending=True, stable=True))
        marked[torch.where(self.protected, ranked, len(v)).flatten()] = True
        return marked[:-1]

    def scale(self, g: Tensor, remedy: Remedy) -> Tensor:
        """For each part the mean or largest factor of its layer; 1 for blocks and stages, whose scale counts."""
        how: Literal["mean", "amax"] = "mean" if remedy == "mean" else "amax"
        by_layer = g.new_zeros(len(self.sizes)).scatter_reduce(0, self.owner, g, how, include_self=False)
        by_layer[len(self.groups) :] = 1
        return by_layer[self.owner]

    def alive(self) -> Selection:
        """The subgraph of what is not zero."""
        values = self.values.detach().cpu()
        found = dict(zip(self.names, torch.split(values, self.sizes), strict=True))
        channels = dict(self.coupling.whole.channels)
        for group in self.groups:
            channels[group.name] = tuple(found[group.name].nonzero().flatten().tolist())
        removed = {
            name
            for name, block in self.coupling.blocks.items()
            if any(part in found and not found[part].any() for part in (name, block.stage))
        }
        return Selection(channels, frozenset(removed))

    def state(self) -> State:
        return {"values": self.values.detach(), "momentum": self.momentum, "taylor": self.taylor}

    def restore(self, state: State) -> None:
        with torch.no_grad():
            self.values.copy_(state["values"])
        self.momentum, self.taylor = state["momentum"], state["taylor"]


def channel_positions(sizes: list[int], names: tuple[str, ...], least: Mapping[str, int]) -> tuple[Tensor, Tensor]:
    """Where each group's channels lie in the vector, padded with its length, and which ranks are protected."""
    if not sizes:
        return torch.zeros(0, 0, dtype=torch.int64), torch.zeros(0, 0, dtype=torch.bool)
    across = torch.arange(max(sizes))
    widths = torch.tensor(sizes)[:, None]
    starts = torch.cumsum(widths, 0) - widths
    # Any index past the groups is padding once the vector has one more entry than parts; -1 is that entry.
    table = torch.where(across < widths, starts + across, -1)
    return table, across < torch.tensor([least[name] for name in names[: len(sizes)]])[:, None]


def part_costs(factors: SubgraphFactors, selection: Selection, measure: Measure) -> Tensor:
    """What each part costs at the widths of `selection` (parts,): one channel more or less, a branch, a stage's."""
    coupling = factors.coupling
    widths = coupling.widths(selection)
    branches = {name: getattr(total_cost(coupling.inside(name), widths), measure) for name in coupling.blocks}
    each: list[float] = [marginal(coupling, name, widths, measure) for name in factors.names[: len(factors.groups)]]
    each += [branches[name] for name in factors.blocks]
    each += [sum(branches[name] for name in coupling.stages[stage]) for stage in factors.stages]
    return torch.tensor(each, device=factors.values.device)[factors.owner]


def marginal(coupling: Coupling, name: str, widths: Mapping[str, int], measure: Measure) -> float:
    layers = coupling.touching[name]
    one_less = {**widths, name: widths[name] - 1}
    return float(getattr(total_cost(layers, widths), measure) - getattr(total_cost(layers, one_less), measure))


def alphas(factors: SubgraphFactors, selection: Selection, measure: Measure) -> Tensor:
    """The weights alpha_j: a part's cost over the mean cost of its kind (parts,).

    By kind, because a block costs hundreds of channels, and its factor would be zero before theirs had moved.
    """
    cost = part_costs(factors, selection, measure)
    ends = (factors.channels, factors.channels + len(factors.blocks), len(cost))
    kinds = torch.tensor_split(cost, ends[:2])
    return torch.cat([kind / kind.mean() for kind in kinds if len(kind)])
