"""Contestants timed in turn, one step of each after the other, so that whatever else the machine does falls on all.

Time is that of the processor, not of the clock on the wall: it counts no waiting for other programs. Ratios are formed
within one round, where all contestants met the same conditions, and only then is the median taken.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

COLLECT = 20
"""Steps after which garbage is collected: each collection takes long and empties the processor's caches."""

Spent = Mapping[str, Sequence[float]]
"""For each contestant, the seconds of its rounds."""


def alternate(
    contestants: Mapping[str, Callable[[int], object]], *, rounds: int, block: int = 1, warm: int = 1
) -> dict[str, list[float]]:
    """Seconds of processor time that each contestant spent in each of `rounds` rounds.

    A round is `block` steps of each, taken in turn; a contestant is called with the number of its step, from 0. `warm`
    rounds come before those that count. Each turn runs backwards after it ran forwards, so that no contestant always
    follows the same one.
    """
    spent: dict[str, list[float]] = {name: [] for name in contestants}
    names = list(contestants)
    with uncollected():
        for number in range((warm + rounds) * block):
            for name in names if number % 2 else reversed(names):
                begun = time.process_time()
                contestants[name](number)
                seconds = time.process_time() - begun
                if number % block:
                    spent[name][-1] += seconds
                else:
                    spent[name].append(seconds)
            if number % COLLECT == COLLECT - 1:
                gc.collect()  # between steps, on nobody's account
    return {name: seconds[warm:] for name, seconds in spent.items()}


@contextmanager
def uncollected() -> Iterator[None]:
    """No garbage collection, which would fall on one contestant by chance."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@dataclass(frozen=True)
class Comparison:
    """A line of a table: `name` over `over`, both contestants; `limit`: what the ratio may be at most, if any."""

    name: str
    over: str
    limit: float | None = None


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile of at least two values."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def ratios(spent: Spent, comparison: Comparison) -> list[float]:
    """One for each round."""
    return [a / b for a, b in zip(spent[comparison.name], spent[comparison.over], strict=True)]


def markdown(spent: Spent, comparisons: Sequence[Comparison]) -> str:
    """A table of the comparisons, ready to be pasted."""
    lines = ["| step | over | limit | median | quartiles | rounds |", "|---|---|---|---|---|---|"]
    for one in comparisons:
        low, middle, high = quartiles(ratios(spent, one))
        limit = "" if one.limit is None else f"{one.limit:.2f}"
        found = f"{middle:.3f} | {low:.3f} to {high:.3f} | {len(spent[one.name])}"
        lines.append(f"| {one.name} | {one.over} | {limit} | {found} |")
    return "\n".join(lines)


def milliseconds(spent: Spent, *, block: int = 1) -> str:
    """The median step of each contestant, in a line."""
    steps = (f"{name} {statistics.median(seconds) / block * 1e3:.1f}" for name, seconds in spent.items())
    return f"median process time of a step in ms: {', '.join(steps)}"
