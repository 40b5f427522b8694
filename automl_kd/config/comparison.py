"""The section of an experiment that compares ways of teaching one student."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from automl_kd.registry import SLUG
from automl_kd.space import Scalar
from automl_kd.spec import require


@dataclass(frozen=True, kw_only=True)
class MethodEntry:
    """A way of teaching that is compared with others.

    `name`: lower-case letters, digits and '-'. `title`: for people; empty takes the name. `method`: 'automl-kd show
    methods' lists them. `options`: options of the method, by name. `grid`: values to try for options; of all
    combinations the `best` by validation go to the finals, each as an entry of its own. `best` (1 or more): how
    many combinations of the grid go to the finals. `init`: what the student begins with, as in [student]; empty
    takes that section's, and "fresh" for a method without a teacher. `recipe`: fields of the recipe, by name, that
    this entry has otherwise; none that decides what an epoch costs. `compute` (above 0, at most 1): compute of
    each entry's finals, as fractions of the comparison's.
    """

    name: str
    title: str = ""
    method: str
    options: Mapping[str, Scalar] = field(default_factory=dict)
    grid: Mapping[str, tuple[Scalar, ...]] = field(default_factory=dict)
    best: int = 1
    init: str = ""
    recipe: Mapping[str, Scalar] = field(default_factory=dict)
    compute: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        require(
            re.fullmatch(SLUG, self.name) is not None,
            f"the name of a compared method must be at most 50 lower-case letters, digits or '-', got {self.name!r}",
        )
        require(all(self.grid.values()), f"grid of {self.name!r} names an option without values; give some")
        both = sorted(set(self.grid) & set(self.options))
        require(not both, f"{self.name!r} has {', '.join(both)} both in options and in grid; keep one")
        combinations = math.prod(map(len, self.grid.values()))
        require(1 <= self.best <= combinations, f"best of {self.name!r} must lie in 1 to {combinations}: {self.best}")
        require(
            bool(self.compute)
            and len(set(self.compute)) == len(self.compute)
            and all(0 < x <= 1 for x in self.compute),
            f"compute of {self.name!r} must be distinct fractions above 0 and at most 1, got {list(self.compute)}",
        )

    @property
    def combinations(self) -> list[dict[str, Scalar]]:
        """The options of every candidate, the last tuned one varying fastest."""
        return [
            {**self.options, **dict(zip(self.grid, values, strict=True))}
            for values in itertools.product(*self.grid.values())
        ]


@dataclass(frozen=True, kw_only=True)
class ComparisonSection:
    """A comparison of ways of teaching one student, the baseline of [finalists], in place of a search for a student.

    `reference`: the name of the method that the others are compared with. The full compute is what `recipe.epochs` of
    it cost; the others are trained for as many epochs as that pays for, within 1 % or a step, and for the lengths of
    the other `readings` of [finalists]. `methods`: what is
    compared; empty for a search. `tuning` (above 0, at most 1): the fraction of the compute at which candidates are
    tried. `tuning_seeds` (1 or more): candidates are tried with the first so many of as many other seeds as there are
    final ones.
    """

    reference: str = "kd"
    methods: tuple[MethodEntry, ...] = ()
    tuning: float = 0.5
    tuning_seeds: int = 1

    def __post_init__(self) -> None:
        names = [one.name for one in self.methods]
        require(len(set(names)) == len(names), f"methods must have distinct names, got {', '.join(names)}")
        require(
            not names or self.reference in names,
            f"no method of the comparison is called {self.reference!r}, the reference",
        )
        require(0 < self.tuning <= 1, f"tuning must lie above 0 and not above 1, got {self.tuning}")
        require(self.tuning_seeds >= 1, f"tuning_seeds must be 1 or more, got {self.tuning_seeds}")
