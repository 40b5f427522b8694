"""The exact distribution of what a random procedure returns: it is run once for every outcome of its draws."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

import numpy as np

from automl_kd.nasbench.samplers.draws import Integers, Reals, SeededDraws

T = TypeVar("T", bound=Hashable)

PARTS = 2
"""Real numbers are drawn from the middles of so many equal parts of [0, 1): enough for a comparison with 1/2."""


class Branch:
    """One sequence of outcomes: those of `script`, then the first of each."""

    def __init__(self, script: tuple[int, ...] = ()) -> None:
        self.script = script
        self.options: list[int] = []

    def choose(self, below: int) -> int:
        place = len(self.options)
        self.options.append(below)
        return self.script[place] if place < len(self.script) else 0

    def real(self) -> float:
        return (self.choose(PARTS) + 0.5) / PARTS

    def order(self, count: int) -> list[float]:
        """Distinct reals, every order of which is equally likely."""
        left = [(place + 0.5) / count for place in range(count)]
        return [left.pop(self.choose(len(left))) for _ in range(count)]


def distribution(run: Callable[[Branch], T]) -> Mapping[T, Fraction]:
    """What `run` returns, with its probability, over all outcomes of what it asks its branch."""
    found: dict[T, Fraction] = defaultdict(Fraction)
    waiting: list[tuple[int, ...]] = [()]
    while waiting:
        branch = Branch(waiting.pop())
        found[run(branch)] += Fraction(1, math.prod(branch.options))
        taken = branch.script + (0,) * (len(branch.options) - len(branch.script))
        for place in range(len(branch.script), len(branch.options)):
            waiting += [(*taken[:place], other) for other in range(1, branch.options[place])]
    return dict(found)


@dataclass(frozen=True, eq=False, kw_only=True)
class BranchingDraws(SeededDraws):
    """The draws of one seed up to step `free`, those of a branch from there on."""

    branch: Branch
    free: int

    def uniform(self, stream: str, step: int, count: int) -> Reals:
        if step < self.free:
            return super().uniform(stream, step, count)
        if stream == "ties":  # between equal candidates
            return np.zeros((1, count))
        return np.array([self.branch.order(count) if stream == "order" else [self.branch.real() for _ in range(count)]])

    def integers(self, stream: str, step: int, below: int, count: int) -> Integers:
        if step < self.free:
            return super().integers(stream, step, below, count)
        return np.array([[self.branch.choose(below) for _ in range(count)]])


class BranchingGenerator:
    """A branch in place of a `numpy.random.Generator`, as far as samplers use one."""

    def __init__(self, branch: Branch) -> None:
        self.branch = branch

    def integers(self, below: int, size: int | None = None) -> np.ndarray | int:
        if size is None:
            return self.branch.choose(below)
        return np.array([self.branch.choose(below) for _ in range(size)])

    def random(self) -> float:
        return self.branch.real()
