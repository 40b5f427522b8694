"""The student that one would take for a budget without a search: a space's default, made smaller until it fits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import numpy as np

from automl_kd.errors import InfeasibleArchitectureError
from automl_kd.space import (
    Architecture,
    Choice,
    IntRange,
    Scalar,
    SearchSpace,
    Values,
    check_architecture,
    sample_architecture,
)

Excess = Callable[[Architecture], float]
"""The largest ratio of a student's costs to their limits; above 1 it is over."""

WIDTH_PREFIXES = ("width", "stem", "first", "channels")
"""How the names of parameters begin that a width multiplier scales."""

WIDTH_MULTIPLIERS = tuple(percent / 100 for percent in range(95, 20, -5))
"""Width multipliers that are tried, the largest first."""

DRAWS = 100
"""Random architectures among which one is looked for where numbers cannot be lowered."""


def find_affordable(space: SearchSpace, excess: Excess) -> Architecture:
    """The default of `space`, scaled and shrunk as little as it takes to be within the limits.

    First its widths together, by one multiplier as MobileNets are (arXiv:1704.04861, section 3.3); then one number
    after another; then what is drawn at random. The least excessive that was found, which may be over.
    """
    default = Architecture.of(space.default)
    found = default if excess(default) <= 1 else narrow(space, default, excess)
    found = shrink(space, found, excess)
    if excess(found) > 1 and space.parameters:
        rng = np.random.default_rng(0)
        drawn = [sample_architecture(space, rng) for _ in range(DRAWS)]
        within = [one for one in drawn if excess(one) <= 1]
        found = max(within, key=excess) if within else min([found, *drawn], key=excess)
    return found


def narrow(space: SearchSpace, architecture: Architecture, excess: Excess) -> Architecture:
    """`architecture` with all its widths times the largest factor that is not over, or the smallest factor."""
    found = architecture
    for factor in WIDTH_MULTIPLIERS:
        values = {name: scaled(space, name, value, factor) for name, value in architecture.as_dict().items()}
        candidate = Architecture.of(values)
        try:
            check_architecture(space, candidate)
        except InfeasibleArchitectureError:
            continue
        found = candidate
        if excess(found) <= 1:
            break
    return found


def scaled(space: SearchSpace, name: str, value: Scalar, factor: float) -> Scalar:
    """A width times `factor`, as the next value of its domain that is not larger; any other value as it is."""
    steps = list_numbers(space, name) if name.startswith(WIDTH_PREFIXES) else ()
    below = [one for one in steps if one <= value * factor]  # type: ignore[operator]  # numbers all
    return max(below, default=min(steps)) if steps else value


def shrink(space: SearchSpace, architecture: Architecture, excess: Excess) -> Architecture:
    """`architecture` with numbers lowered, each time the one that saves most, until it is not over or none is left."""
    while excess(architecture) > 1:
        found = min(lowered(space, architecture), key=excess, default=architecture)
        if excess(found) >= excess(architecture):
            return architecture
        architecture = found
    return architecture


def lowered(space: SearchSpace, architecture: Architecture) -> Iterator[Architecture]:
    """Architectures in which one number is the next lower one."""
    values: Values = architecture.as_dict()
    for name, value in values.items():
        below = [one for one in list_numbers(space, name) if one < value]  # type: ignore[operator]  # numbers all
        if below:
            candidate = Architecture.of({**values, name: max(below)})
            with suppress(InfeasibleArchitectureError):
                check_architecture(space, candidate)
                yield candidate


def list_numbers(space: SearchSpace, name: str) -> Sequence[Scalar]:
    """The values that a parameter may have, if they are numbers of which there are finitely many."""
    domain = space.parameters[name].domain
    if isinstance(domain, IntRange):
        return range(domain.low, domain.high + 1, domain.step)
    if isinstance(domain, Choice) and not any(isinstance(one, str | bool) for one in domain.options):
        return domain.options
    return ()
