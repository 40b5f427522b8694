"""Samplers, and their table by name. May import `methods` and below; only this room imports Optuna."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import get_type_hints

from automl_kd.errors import ConfigError
from automl_kd.registry import lookup, suggestion
from automl_kd.samplers.aging_evolution import AgingEvolution
from automl_kd.samplers.base import Exhausted, Sampler, SearchObjective
from automl_kd.samplers.feasible import Feasible
from automl_kd.samplers.local_search import LocalSearch
from automl_kd.samplers.nsga2 import NSGA2
from automl_kd.samplers.proxy_filter import Screened
from automl_kd.samplers.random_search import RandomSearch
from automl_kd.samplers.tpe import TPE
from automl_kd.space import Scalar, SearchSpace

__all__ = [
    "SAMPLERS",
    "Exhausted",
    "Feasible",
    "Sampler",
    "Screened",
    "SearchObjective",
    "make_sampler",
    "option_types",
]

SAMPLERS: Mapping[str, Callable[..., Sampler]] = {
    "random": RandomSearch,
    "local": LocalSearch,
    "evolution": AgingEvolution,
    "tpe": TPE,
    "nsga2": NSGA2,
}
"""Each is a dataclass with the fields `space`, `objectives` and `seed`; its other fields are its options."""


def make_sampler(
    name: str,
    space: SearchSpace,
    *,
    objectives: Sequence[SearchObjective],
    seed: int,
    options: Mapping[str, Scalar],
) -> Sampler:
    """The sampler called `name`, or `module:attribute`, with `options` for those of its fields that it names.

    `UnknownNameError` for the name; `ConfigError` for an option that is unknown, has another type or a value out of its
    range, and for objectives that the sampler cannot follow.
    """
    sampler = lookup(SAMPLERS, name, "sampler")
    types = option_types(name, sampler)
    for option, value in options.items():
        if option not in types:
            hint = suggestion(option, types) if types else "it has none"
            raise ConfigError(f"sampler {name!r} has no option {option!r}; {hint}")
        if not fits_option(value, types[option]):
            wanted = types[option].__name__
            raise ConfigError(f"option {option!r} of sampler {name!r} is {value!r}; write it as {wanted}")
    return sampler(space=space, objectives=tuple(objectives), seed=seed, **options)


def option_types(name: str, sampler: Callable[..., Sampler]) -> dict[str, type[Scalar]]:
    """The options of a sampler and the type of each."""
    if not (isinstance(sampler, type) and is_dataclass(sampler)):
        raise ConfigError(f"{name!r} is not a sampler; name a dataclass with the fields space, objectives and seed")
    hints = get_type_hints(sampler)
    given = {"space", "objectives", "seed"}
    return {item.name: hints[item.name] for item in fields(sampler) if item.init and item.name not in given}


def fits_option(value: Scalar, wanted: type[Scalar]) -> bool:
    """Whether `value` may stand for an option of type `wanted`; an integer may stand for a real number."""
    return type(value) is wanted or (wanted is float and type(value) is int)
