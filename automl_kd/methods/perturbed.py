"""What a population may change in a trial: names, ranges, and their values as options of a method."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from automl_kd.config import Range
from automl_kd.errors import AutoMLKDError, ConfigError
from automl_kd.methods import method_type
from automl_kd.methods.hyperparameters import WEIGHT, knows, option_of, teaching
from automl_kd.methods.schedule import METHOD, RECIPE, STEADY
from automl_kd.registry import suggestion
from automl_kd.space import FloatRange, Scalar


def ranges_of(perturb: Mapping[str, Range]) -> dict[str, FloatRange]:
    """The ranges as real ones, however their ends are written."""
    return {name: FloatRange(float(one.low), float(one.high), one.log) for name, one in perturb.items()}


def changes_of(hyperparameters: Mapping[str, float], method: str, options: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """The values of hyperparameters as a stage of a schedule holds them: weights of losses become the method's sum."""
    recipe: dict[str, Scalar] = {name: value for name, value in hyperparameters.items() if name.startswith(RECIPE)}
    of_method = {name: value for name, value in hyperparameters.items() if not name.startswith(RECIPE)}
    if not of_method:
        return recipe
    _, held = teaching(of_method, method, options)
    return recipe | {METHOD + option: held[option] for option in map(option_of, of_method)}


def check_perturb(perturb: Mapping[str, Range], method: str, options: Mapping[str, Scalar]) -> None:
    """Raise `ConfigError` for what cannot change while a trial trains, and for ends of ranges that a method refuses."""
    for name in perturb:
        if name.startswith(RECIPE):
            if name.removeprefix(RECIPE) not in STEADY:
                known = [RECIPE + field for field in STEADY]
                raise ConfigError(
                    f"search.perturb: {name!r} cannot change while a trial trains; {suggestion(name, known)}"
                )
        else:
            check_option(name, perturb[name], method, options)
    for end in ("low", "high"):
        values = {name: float(getattr(one, end)) for name, one in perturb.items()}
        try:
            changes_of(values, method, options)
        except AutoMLKDError as error:
            raise ConfigError(f"search.perturb at the {end} ends of its ranges: {error}") from error
        if values.get("recipe.lr", 1.0) <= 0 or values.get("recipe.weight_decay", 0.0) < 0:
            raise ConfigError("search.perturb: recipe.lr must stay above 0 and recipe.weight_decay at 0 or more")


def check_option(name: str, values: Range, method: str, options: Mapping[str, Scalar]) -> None:
    kind: Any = method_type(method)
    weight = name.startswith(WEIGHT)
    live = [item.name for item in dataclasses.fields(kind) if item.metadata.get("live")]
    if not knows(method, name) or option_of(name) not in live or (option_of(name) == "losses" and not weight):
        named = [METHOD + ("losses.NAME" if option == "losses" else option) for option in live]
        may = (
            f"what may are {', '.join(named)}, and of the recipe lr and weight_decay" if named else "nothing of it may"
        )
        raise ConfigError(f"search.perturb: {name!r} cannot change while {method!r} trains; {may}")
    if option_of(name) in options:
        raise ConfigError(f"{option_of(name)!r} is set in options and {name!r} in search.perturb; keep one of the two")
    if weight and values.low <= 0:
        raise ConfigError(f"search.perturb: {name!r} must stay above 0, or the loss and its layers would come and go")
