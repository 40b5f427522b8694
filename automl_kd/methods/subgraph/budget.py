"""From scores of channels and blocks to the subgraph that fills a budget, its real cost counted at each addition.

Rank and fill: begin with the minimum widths and without the blocks that can be left out; then add the part with the
highest score that still fits, until none does. Where all scores are equal this thins uniformly.
"""

from __future__ import annotations

import dataclasses
import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from automl_kd.config import Budget
from automl_kd.errors import ConfigError
from automl_kd.models.costs.cost import NetworkCost
from automl_kd.models.pruning.coupling import Coupling, Selection, add, cost_difference, total_cost
from automl_kd.spec import require

LARGEST_MULTIPLE = 1000
"""Of a budget."""

MeasureLatency = Callable[[Selection], float]
"""Milliseconds of the network of a selection, measured."""


@dataclass(frozen=True, eq=False)
class PartScores:
    """By group, one for each channel; by block one number. Higher stays; 0 or less is never added; all on the CPU."""

    channels: Mapping[str, Tensor]
    blocks: Mapping[str, float]


def with_removed(scores: PartScores, others: PartScores) -> PartScores:
    """`scores` with parts of 0 or less put behind all others, in the order that they have in `others`."""
    positive = [float(values[values > 0].min()) for values in scores.channels.values() if (values > 0).any()]
    positive += [score for score in scores.blocks.values() if 0 < score < math.inf]
    least = min(positive, default=1.0)
    largest = max((float(values.max()) for values in others.channels.values()), default=1.0)
    largest = max([largest, *(score for score in others.blocks.values() if score < math.inf)])
    factor = least / 2 / largest if largest > 0 else 0.0
    channels = {
        name: torch.where(values > 0, values, factor * others.channels[name])
        for name, values in scores.channels.items()
    }
    blocks = {name: score if score > 0 else factor * others.blocks[name] for name, score in scores.blocks.items()}
    return PartScores(channels, blocks)


def least_widths(coupling: Coupling, floor: float, divisor: int) -> dict[str, int]:
    """The narrowest that each group may become: the fraction `floor` of it, rounded up to a multiple of `divisor`."""
    return {
        group.name: min(group.size, divisor * max(1, math.ceil(floor * group.size / divisor - 1e-9)))
        for group in coupling.free
    }


def read_multiples(text: str) -> list[float]:
    """Positive numbers, separated by commas."""
    try:
        multiples = [float(part) for part in text.split(",")]
    except ValueError:
        multiples = []
    require(
        bool(multiples) and all(0 < multiple <= LARGEST_MULTIPLE for multiple in multiples),
        f"multiples are numbers such as '1, 0.5', got {text!r}; give each above 0 and at most {LARGEST_MULTIPLE}",
    )
    return multiples


def scale_budget(budget: Budget, multiple: float) -> Budget:
    """A limit stays one: it does not fall to the 0 that means none."""
    return dataclasses.replace(
        budget,
        params=max(math.floor(budget.params * multiple), min(budget.params, 1)),
        macs=max(math.floor(budget.macs * multiple), min(budget.macs, 1)),
        latency_ms=budget.latency_ms * multiple,
    )


def within_countable_budget(cost: NetworkCost, budget: Budget) -> bool:
    """Whether what can be counted is within the budget; its latency is not."""
    return not (budget.params and cost.params > budget.params) and not (budget.macs and cost.macs > budget.macs)


def refuse_below(
    coupling: Coupling, budget: Budget, least: Mapping[str, int], model: str, latencies: Sequence[MeasureLatency] = ()
) -> None:
    """`ConfigError` if even the smallest subgraph costs more than the budget allows.

    A latency is compared if it can be measured, and then the best of `latencies`.
    """
    lowest = Filling(coupling, least).cost
    for name in ("params", "macs"):
        wanted, cost = getattr(budget, name), getattr(lowest, name)
        if wanted and cost > wanted:
            raise ConfigError(
                f"a budget of {wanted} {name} lies below the {cost} of the smallest subgraph of {model!r}; "
                "raise the budget, or lower the minimum width with floor and divisor"
            )
    if budget.latency_ms and latencies:
        refuse_slow(budget, min(latency(smallest(coupling, least)) for latency in latencies))


def refuse_slow(budget: Budget, fastest: float) -> None:
    """`ConfigError` if the smallest subgraph, which takes `fastest` milliseconds, is too slow for the budget."""
    if budget.latency_ms and fastest > budget.latency_ms:
        raise ConfigError(
            f"a budget of {budget.latency_ms:.3g} ms lies below the {fastest:.3g} ms of the smallest subgraph; "
            "raise the budget, or lower the minimum width with floor and divisor"
        )


def smallest(coupling: Coupling, least: Mapping[str, int]) -> Selection:
    """The subgraph of the minimum widths, without the blocks that can be left out."""
    return Selection(
        {group.name: tuple(range(least[group.name])) for group in coupling.free}, frozenset(coupling.blocks)
    )


def devices_here(device: str) -> list[str]:
    """Devices of this machine on which a trial for `device` may run, as far as is known before; none if it has none.

    A dry run on the processor may precede a trial on the GPU.
    """
    if torch.cuda.is_available():
        return list(dict.fromkeys((device, "cuda")))
    return [device] if device == "cpu" else []


class Filling:
    """A subgraph that grows: its widths, its missing blocks, and its cost."""

    def __init__(self, coupling: Coupling, least: Mapping[str, int]) -> None:
        self.coupling = coupling
        self.widths = {name: least.get(name, group.size) for name, group in coupling.groups.items()}
        self.removed = set(coupling.blocks)
        present = [layer for layer in coupling.layers.values() if not layer.block]
        self.cost = add(coupling.rest, total_cost(present, self.widths))

    def priced(self, name: str, step: int) -> NetworkCost:
        """The cost after `step` more channels of a group, or with a block (step 0)."""
        if name in self.coupling.blocks:
            return add(self.cost, total_cost(self.coupling.inside(name), self.widths))
        layers = [layer for layer in self.coupling.touching[name] if layer.block not in self.removed]
        wider = {**self.widths, name: self.widths[name] + step}
        return add(self.cost, cost_difference(total_cost(layers, wider), total_cost(layers, self.widths)))

    def grow(self, name: str, step: int, cost: NetworkCost) -> None:
        self.removed.discard(name)
        if step:
            self.widths[name] += step
        self.cost = cost


Path = list[tuple[str, int]]
"""Additions in order: a group and by how many channels, or a block and 0. Every beginning of it is a subgraph."""


def fill_budget(coupling: Coupling, scores: PartScores, budget: Budget, least: Mapping[str, int], divisor: int) -> Path:
    """The additions that fill the budget's params and macs, highest score first; of equals the relatively narrowest."""
    filling, path = Filling(coupling, least), Path()
    ranked = {name: values.sort(descending=True).values for name, values in scores.channels.items()}
    heap: list[tuple[float, float, str, int]] = []

    def offer(name: str) -> None:
        size, width = coupling.groups[name].size, filling.widths[name]
        step = min(divisor, size - width)
        if step and (score := float(ranked[name][width : width + step].mean())) > 0:
            heapq.heappush(heap, (-score, width / size, name, step))

    for group in coupling.free:
        if not group.block:
            offer(group.name)
    for name, score in scores.blocks.items():
        if score > 0:
            heapq.heappush(heap, (-score, 0.0, name, 0))
    while heap:
        _, _, name, step = heapq.heappop(heap)
        cost = filling.priced(name, step)
        if not within_countable_budget(cost, budget):
            continue
        filling.grow(name, step, cost)
        path.append((name, step))
        for grown in [name] if step else [group.name for group in coupling.free if group.block == name]:
            offer(grown)
    return path


def selected(coupling: Coupling, scores: PartScores, least: Mapping[str, int], path: Path) -> Selection:
    """The subgraph after the additions of `path`: of each group its channels of highest score."""
    widths = {group.name: least[group.name] for group in coupling.free}
    for name, step in path:
        if step:
            widths[name] += step
    channels = {
        name: tuple(sorted(scores.channels[name].argsort(descending=True, stable=True)[:width].tolist()))
        for name, width in widths.items()
    }
    return Selection(channels, frozenset(coupling.blocks) - {name for name, _ in path})


def choose_subgraph(
    coupling: Coupling,
    scores: PartScores,
    budget: Budget,
    least: Mapping[str, int],
    divisor: int,
    latency: MeasureLatency,
) -> Selection:
    """The subgraph of the highest scores within the budget. `ConfigError` if the smallest is too slow for it.

    A latency is measured, so its limit is met by halving the path of additions, not after each of them.
    """
    path = fill_budget(coupling, scores, budget, least, divisor)

    def cut_at(end: int) -> Selection:
        return selected(coupling, scores, least, path[:end])

    if not budget.latency_ms or latency(cut_at(len(path))) <= budget.latency_ms:
        return cut_at(len(path))
    refuse_slow(budget, latency(cut_at(0)))
    fits, fails = 0, len(path)
    while fails - fits > 1:
        middle = (fits + fails) // 2
        fits, fails = (middle, fails) if latency(cut_at(middle)) <= budget.latency_ms else (fits, middle)
    return cut_at(fits)


def even(size: int) -> Tensor:
    """Falling scores in (0, 1] that treat all layers equally: the k-th channel of any layer is k/size down."""
    return 1 - torch.arange(size, dtype=torch.float64) / size
