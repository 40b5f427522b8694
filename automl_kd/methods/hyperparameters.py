"""The hyperparameter space: turns an experiment's `hyperparameters` into parameters, and their values into a method.

`method` chooses among several; `method.OPTION` is an option, and exists for those methods that have it;
`method.losses.NAME` is the weight of one loss, for methods whose option `losses` is a sum of them. All weights together
are written as the string that `automl_kd.losses.weighted_sum` reads: 0 leaves a loss out, and the labels have the
weight 1 unless `method.losses.ce` is searched too. Options that are not searched are those of the experiment, for every
method that has them. `recipe.FIELD` is a field of the recipe, and `student.init` what students begin with.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from automl_kd.config import ComparisonSection, HyperparameterDomain, MethodEntry, Range, parse_record
from automl_kd.errors import AutoMLKDError, ConfigError
from automl_kd.losses.weighted_sum import loss_type
from automl_kd.methods import make_method, method_type, pin_files
from automl_kd.methods.schedule import INIT, RECIPE
from automl_kd.registry import suggestion
from automl_kd.space import Choice, Domain, FloatRange, IntRange, Parameter, Scalar, Values, When
from automl_kd.spec import FRESH, FROM_TEACHER, Recipe

METHOD, OPTION, WEIGHT = "method", "method.", "method.losses."
SUM = "losses"
"""The option that is a weighted sum of losses."""

FIXED = frozenset(
    (
        "epochs",
        "last_epoch",
        "batch_size",
        "repeats",
        "grad_accumulation",
        "sync_bn_groups",
        "train_resolution",
        "milestones",
        "amp",
        "channels_last",
    )
)
"""Fields of a recipe that are not searched: they decide what a training costs, or how it is carried out."""

SEARCHED_FIELDS = tuple(item.name for item in dataclasses.fields(Recipe) if item.name not in FIXED)
INITS = (FRESH, FROM_TEACHER)

MAX_POINTS = 1_000_000
"""Whole numbers in a range: with more of them, real ones are meant."""


def methods_of(hyperparameters: Mapping[str, HyperparameterDomain], method: str) -> tuple[str, ...]:
    """The methods that are searched: those that `hyperparameters` lists, or `method` alone."""
    method_type(method)
    named = hyperparameters.get(METHOD, (method,))
    if isinstance(named, Range) or not all(isinstance(one, str) for one in named):
        raise ConfigError(
            'hyperparameters.method should list names of methods, as in method = ["kd", "weighted_losses"]'
        )
    return tuple(str(one) for one in named)


def settle_options(methods: Sequence[str], options: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """The options as the first method that has each holds them; one that none has is a `ConfigError`."""
    if len(methods) == 1:
        return typed(methods[0], options)
    found: dict[str, Scalar] = {}
    for method in methods:
        found = {**typed(method, own_options(method, options)), **found}
    if unknown := [name for name in options if name not in found]:
        raise ConfigError(f"options: {no_method_has(unknown[0], methods)}")
    return {name: found[name] for name in options}


def settle_hyperparameters(
    hyperparameters: Mapping[str, HyperparameterDomain], methods: Sequence[str], options: Mapping[str, Scalar]
) -> dict[str, HyperparameterDomain]:
    """`hyperparameters` with the values of its choices as methods hold them: floats, and files with content hashes.

    A hyperparameter that no method has or that changes nothing, or an end of a range or a value of a choice that one of
    them refuses by itself, is a `ConfigError`.
    """
    refuse_twice(hyperparameters, options)
    found = dict(hyperparameters)
    for name in options_in(hyperparameters):
        having = [method for method in methods if knows(method, name)]
        if not having:
            raise ConfigError(stray(name, methods))
        refuse_idle(name, hyperparameters[name])
        held = [
            try_setting(name, value) if is_setting(name) else try_out(name, value, having, options)
            for value in ends(domain_of(hyperparameters[name]))
        ]
        found[name] = (
            hyperparameters[name]
            if isinstance(hyperparameters[name], Range)
            else require_distinct_values(f"hyperparameters.{name}", held)
        )
    if any(name.startswith(WEIGHT) for name in hyperparameters) and set(weights_in(hyperparameters)) <= {"ce"}:
        raise ConfigError(
            "hyperparameters have no weight but that of the labels; add one of a loss, such as method.losses.kd"
        )
    return found


def parameters_of(hyperparameters: Mapping[str, HyperparameterDomain], methods: Sequence[str]) -> dict[str, Parameter]:
    """The hyperparameters of a settled table as parameters of a space, parents first."""
    found = {METHOD: Parameter(domain_of(hyperparameters[METHOD]))} if METHOD in hyperparameters else {}
    for name in options_in(hyperparameters):
        having = tuple(method for method in methods if knows(method, name))
        found[name] = Parameter(
            domain_of(hyperparameters[name]), When(METHOD, having) if len(having) < len(methods) else None
        )
    return found


def teaching(values: Values, method: str, options: Mapping[str, Scalar]) -> tuple[str, dict[str, Scalar]]:
    """The method that the values name, or else `method`, and the options of it that they set.

    Numbers have the types of the method's own fields, so that `temperature = 4` and `4.0` name the same trial.
    `ConfigError` if the method refuses them together, or if no loss is left in a sum.
    """
    name = str(values.get(METHOD, method))
    given = {
        option_of(key): value for key, value in values.items() if key.startswith(OPTION) and not is_loss_weight(key)
    }
    if weights := weights_in(values):
        given[SUM] = write_weighted_sum(weights)
    return name, typed(name, {**own_options(name, options), **given})


def settings(values: Values) -> dict[str, Scalar]:
    """Those of the values that are no options of a method, as the start of a schedule holds them."""
    return {name: value for name, value in values.items() if is_setting(name)}


def occasions(hyperparameters: Mapping[str, HyperparameterDomain], methods: Sequence[str]) -> list[Values]:
    """Values for dry runs of every method, with all losses of the sum.

    Every value of a choice and both ends of a range occur once, beside the first of the others.
    """
    chosen = {METHOD} if METHOD in hyperparameters else set()
    found: list[Values] = []
    for method in methods:
        ours = {
            name: ends(domain_of(hyperparameters[name]))
            for name in options_in(hyperparameters)
            if knows(method, name) and not is_setting(name)
        }
        weights = {name: max(values) for name, values in ours.items() if name.startswith(WEIGHT)}
        first = {**dict.fromkeys(chosen, method), **{name: values[0] for name, values in ours.items()}, **weights}
        others = [(name, value) for name, values in ours.items() if name not in weights for value in values[1:]]
        found += [first, *({**first, name: value} for name, value in others)]
    return found


def settle_comparison(comparison: ComparisonSection) -> ComparisonSection:
    """The comparison with the options of every entry as its method holds them; `ConfigError` for invalid ones."""
    return dataclasses.replace(comparison, methods=tuple(map(settle_entry, comparison.methods)))


def settle_entry(one: MethodEntry) -> MethodEntry:
    """Each value of `grid` is tried beside the first of the others, and all combinations are made once."""
    for options in one.combinations:
        typed(one.method, options)
    first = one.combinations[0]
    grid = {
        name: require_distinct_values(
            f"grid.{name} of {one.name!r}", [typed(one.method, {**first, name: value})[name] for value in values]
        )
        for name, values in one.grid.items()
    }
    recipe = {}
    for name, value in one.recipe.items():
        if name not in SEARCHED_FIELDS:
            raise ConfigError(f"recipe of {one.name!r}: {stray(RECIPE + name, [one.method])}")
        recipe[name] = try_setting(RECIPE + name, value, f"recipe of {one.name!r}")
    return dataclasses.replace(one, options=own_values(one.method, one.options, first), grid=grid, recipe=recipe)


def require_distinct_values(where: str, values: Sequence[Scalar]) -> tuple[Scalar, ...]:
    """`values`, as a method holds them, unless two are the same one: 4 and 4.0, or a file by two paths."""
    for position, value in enumerate(values):
        if value in values[:position]:
            raise ConfigError(f"{where} has the value {value!r} twice; keep one")
    return tuple(values)


def own_values(method: str, options: Mapping[str, Scalar], beside: Mapping[str, Scalar]) -> dict[str, Scalar]:
    held = typed(method, beside)
    return {name: held[name] for name in options}


def write_weighted_sum(weights: Mapping[str, Scalar]) -> str:
    """Weights as a sum in words: {"kd": 0.5, "at": 10.0, "nst": 0.0} is "kd=0.5, at=10.0"."""
    # The labels' weight is written even where it is 0, since a sum without it includes them.
    left = {name: weight for name, weight in weights.items() if weight or name == "ce"}
    if not left.keys() - {"ce"}:
        raise ConfigError(f"every loss but that on the labels has the weight 0 ({', '.join(weights)}); give one more")
    return ", ".join(f"{name}={weight!r}" for name, weight in left.items())


def domain_of(values_or_range: HyperparameterDomain) -> Domain:
    if not isinstance(values_or_range, Range):
        return Choice(tuple(values_or_range))
    if isinstance(values_or_range.low, int) and isinstance(values_or_range.high, int) and values_or_range.whole:
        return IntRange(values_or_range.low, values_or_range.high, values_or_range.step)
    return FloatRange(float(values_or_range.low), float(values_or_range.high), values_or_range.log)


def ends(domain: Domain) -> tuple[Scalar, ...]:
    """All values of a choice, the first and the last of a range."""
    if isinstance(domain, Choice):
        return domain.options
    return (domain.low, domain.high) if isinstance(domain, FloatRange) else (domain.low, domain.options[-1])


def try_out(name: str, value: Scalar, methods: Sequence[str], options: Mapping[str, Scalar]) -> Scalar:
    """Make each method once with this value of the hyperparameter `name`; the value as the first of them holds it."""
    option, tried = option_of(name), value
    if name.startswith(WEIGHT):
        loss = name.removeprefix(WEIGHT)
        loss_type(loss)
        if isinstance(value, bool | str):
            raise ConfigError(
                f"hyperparameters.{name} cannot be {value!r}; give weights as numbers, 0 to leave the loss out"
            )
        tried = f"{loss}={value!r}" + ", kd=1" * (loss == "ce")
    try:
        held = [typed(method, {**own_options(method, options), option: tried})[option] for method in methods]
    except AutoMLKDError as error:
        raise ConfigError(f"hyperparameters.{name} cannot be {value!r}: {error}") from error
    return value if name.startswith(WEIGHT) else held[0]


def try_setting(name: str, value: Scalar, where: str = "") -> Scalar:
    """The value of a field of the recipe as it holds it, or of what students begin with; `ConfigError` for others."""
    if name == INIT:
        if value not in INITS:
            raise ConfigError(
                f'hyperparameters."{INIT}" cannot be {value!r}; {suggestion(str(value), INITS)}, and a file goes into '
                "student.init"
            )
        return value
    field = name.removeprefix(RECIPE)
    made = parse_record(Recipe, {"nesterov": False, field: value}, where or f'hyperparameters."{name}"')
    held: Scalar = getattr(made, field)
    return held


def refuse_idle(name: str, values_or_range: HyperparameterDomain) -> None:
    """Raise `ConfigError` for a loss that no value includes, and for a range of too many whole numbers."""
    if isinstance(values_or_range, Range):
        if (
            values_or_range.whole
            and (count := (int(values_or_range.high) - int(values_or_range.low)) // values_or_range.step + 1)
            > MAX_POINTS
        ):
            raise ConfigError(
                f"hyperparameters.{name} has {count:,} whole numbers, more than {MAX_POINTS:,}; "
                "give a larger step, or ends with a point for real ones"
            )
    # The labels have the weight 1 unless it is set to 0.
    elif name.startswith(WEIGHT) and name != f"{WEIGHT}ce" and not any(values_or_range):
        raise ConfigError(
            f"hyperparameters.{name} leaves the loss out throughout; drop it, or give a weight above 0 too"
        )


def refuse_twice(hyperparameters: Mapping[str, HyperparameterDomain], options: Mapping[str, Scalar]) -> None:
    """Raise `ConfigError` for an option that is both set and searched, or a sum searched both whole and by weights."""
    for name in options_in(hyperparameters):
        if option_of(name) in options:
            raise ConfigError(
                f"{option_of(name)!r} is set in options and {name!r} in hyperparameters; keep one of the two"
            )
    if OPTION + SUM in hyperparameters and (weights := weights_in(hyperparameters)):
        raise ConfigError(
            f"hyperparameters have {OPTION + SUM!r}, the whole sum, and {WEIGHT + next(iter(weights))!r}, a part of "
            "it; keep one"
        )


def typed(method: str, options: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """The options as the method holds them, files with content hashes; raise `ConfigError` for invalid ones."""
    made = pin_files(make_method(method, options))
    return {name: getattr(made, name) for name in options}


def own_options(method: str, options: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Those of `options` that `method` has."""
    known = option_names(method)
    return {name: value for name, value in options.items() if name in known}


def weights_in(table: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that are weights of losses, by the losses' names."""
    return {name.removeprefix(WEIGHT): value for name, value in table.items() if name.startswith(WEIGHT)}


def options_in(hyperparameters: Mapping[str, HyperparameterDomain]) -> list[str]:
    return [name for name in hyperparameters if name != METHOD]


def option_of(name: str) -> str:
    """The option that the hyperparameter `name` sets, in whole or in part."""
    return SUM if name.startswith(WEIGHT) else name.removeprefix(OPTION)


def is_setting(name: str) -> bool:
    """Whether it is a field of the recipe, or what students begin with: no option of a method."""
    return name == INIT or name.startswith(RECIPE)


def is_loss_weight(name: str) -> bool:
    return name.startswith(WEIGHT)


def knows(method: str, name: str) -> bool:
    """Whether a hyperparameter has an effect on trials of `method`."""
    if name == INIT:
        kind: Any = method_type(method)
        return bool(kind.needs_teacher) and not getattr(kind, "makes_students", False)
    if name.startswith(RECIPE):
        return name.removeprefix(RECIPE) in SEARCHED_FIELDS
    return name.startswith(OPTION) and option_of(name) in option_names(method)


def stray(name: str, methods: Sequence[str]) -> str:
    if name == INIT:
        return f'hyperparameters."{INIT}" has no effect on {", ".join(methods)}; drop it'
    if name.startswith(RECIPE):
        field = name.removeprefix(RECIPE)
        if field in FIXED:
            return f"{name} decides what a training costs, or how it is carried out; set it in [recipe] for all"
        return f"the recipe has no field {field!r}; {suggestion(field, SEARCHED_FIELDS)}"
    if not name.startswith(OPTION):
        return (
            f"hyperparameters have no {name!r}; write method, method.OPTION, method.losses.NAME, recipe.FIELD or {INIT}"
        )
    return f"hyperparameters.{name}: {no_method_has(option_of(name), methods)}"


def no_method_has(option: str, methods: Iterable[str]) -> str:
    known = {name for method in methods for name in option_names(method)}
    hint = suggestion(option, known) if known else "there is none to set"
    return f"no method of {', '.join(methods)} has an option {option!r}; {hint}"


def option_names(method: str) -> list[str]:
    kind: Any = method_type(method)
    return [item.name for item in dataclasses.fields(kind)]
