"""Names that have changed, and the names under which they are stored: the only module that knows both.

Trial keys hash the names of fields, methods and options, so what is hashed or stored of a spec keeps the names of
KEY_VERSION 1: `version_1` writes them, `current` reads them. Experiments are stored under today's names; those of
earlier releases, and their files, are read through `KEYS` and `VALUES`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

Path = tuple[str, ...]
"""Where a value stands in an experiment, by today's names; "*" stands for any place in a list."""

RECIPE = {"optimiser": "optimizer", "accumulate": "grad_accumulation", "norm_shards": "sync_bn_groups"}
METHODS = {"distil": "weighted_losses"}
CHANGES = {f"recipe.{old}": f"recipe.{new}" for old, new in RECIPE.items()}
"""How schedules, and the ranges of a population, name fields of a recipe."""

MAPS = "stem+stage1.pre+stage2.pre+stage3.pre"
FIRST_DISTPRO = {"stages": MAPS, "alpha_lr": 0.1, "published": True}
DISTPRO = {"stages": f"{MAPS}+logits", "alpha_lr": 0.0, "published": False}

FIRST_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "subgraph": {"inherit": False, "strength": 0.01},
    "lkd": {"reach": "run", "give_back": 0.0},
    "distpro": FIRST_DISTPRO,
    "distpro_search": FIRST_DISTPRO,
    "prokt": {"interval": 1, "constraint_temperature": 0.0},
}
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "subgraph": {"inherit": True, "strength": 0.0},
    "lkd": {"reach": "step", "give_back": 0.3},
    "distpro": DISTPRO,
    "distpro_search": DISTPRO,
    "prokt": {"interval": 4, "constraint_temperature": 1.0},
}
"""Options whose default has changed, by method: what an option that a stored spec leaves out means there, and today."""

KEYS: Mapping[Path, Mapping[str, str]] = {
    (): {"vary": "hyperparameters", "contest": "comparison", "bank": "teacher_cache"},
    ("recipe",): RECIPE,
    ("teacher", "recipe"): RECIPE,
    ("hyperparameters",): CHANGES,
    ("hyperparameters", "recipe"): RECIPE,
    ("search",): {"proposer": "sampler", "screen": "proxy_filter", "draws": "repeats"},
    ("search", "perturb"): CHANGES,
    ("search", "perturb", "recipe"): RECIPE,
    ("trial",): {"concurrent": "max_concurrent"},
    ("comparison",): {"contenders": "methods"},
    ("comparison", "methods", "*"): {"tune": "grid"},
    ("table",): {"queries": "trials", "untrained": "training_free"},
    ("table", "runs", "*"): {"kind": "sampler", "queries": "trials", "screen": "proxy_filter"},
    ("table", "training_free"): {"queries": "trials"},
    ("table", "tradeoff"): {"searchers": "samplers", "queries": "trials", "screen": "proxy_filter"},
    ("proxy",): {"evaluations": "trials"},
    ("proxy", "searches", "*"): {"proposer": "sampler", "evaluations": "trials"},
}
"""Of each table of an experiment, the keys that were called otherwise: old name to today's."""

VALUES: Mapping[Path, Mapping[str, str]] = {
    ("method",): METHODS,
    ("hyperparameters", "method", "*"): METHODS,
    ("comparison", "methods", "*", "method"): METHODS,
    ("teacher_cache", "keep"): {"taps": "features"},
}
"""Words that are values and were called otherwise."""

SHARED_SECTIONS: Mapping[str, str] = {"table": "tasks", "proxy": "scores"}
"""Sections that earlier releases stored of every experiment: each with what it leaves empty in another kind's."""

DEEPEST = max(map(len, (*KEYS, *VALUES)))

SCORING = {"draws": "repeats"}
"""What names a file of scores; see `automl_kd.experiment.stages.scoring`."""


class Retired(NamedTuple):
    """An old name at the place `path` of an experiment, which names what is above it as it was given."""

    path: Path
    old: str
    new: str

    @property
    def is_value(self) -> bool:
        return self.path[-1] != self.old


def version_1(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A spec as nested plain values under the names that are hashed and stored."""
    found = renamed_spec(spec, inverse(RECIPE), inverse(METHODS), inverse(CHANGES))
    return with_options(found, DEFAULTS, FIRST_DEFAULTS)


def current(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The same under today's names, whichever of the two it has."""
    return with_options(renamed_spec(spec, RECIPE, METHODS, CHANGES), FIRST_DEFAULTS, DEFAULTS)


def with_options(
    spec: Mapping[str, Any], added: Mapping[str, Mapping[str, Any]], dropped: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """`spec` with the options of its method that are `added` where it has none, less those of a value in `dropped`."""
    method = spec.get("method")
    if not isinstance(method, str) or method not in added:
        return dict(spec)
    options, usual = {**added[method], **spec.get("options", {})}, dropped.get(method, {})
    kept = {name: value for name, value in options.items() if name not in usual or usual[name] != value}
    others = {name: value for name, value in spec.items() if name != "options"}
    return {**others, "options": kept} if kept else others  # what is empty was never hashed


def renamed_spec(
    spec: Mapping[str, Any], recipe: Mapping[str, str], methods: Mapping[str, str], changes: Mapping[str, str]
) -> dict[str, Any]:
    found = dict(spec)
    if isinstance(found.get("method"), str):
        found["method"] = methods.get(found["method"], found["method"])
    if "recipe" in found:
        found["recipe"] = rename(found["recipe"], recipe)
    if isinstance(teacher := found.get("teacher"), Mapping) and "recipe" in teacher:
        found["teacher"] = {**teacher, "recipe": rename(teacher["recipe"], recipe)}
    if found.get("schedule"):
        found["schedule"] = [(start, rename(stage, changes)) for start, stage in found["schedule"]]
    return found


def current_method(name: str) -> str:
    """Today's name of a method that a row or a journal names."""
    return METHODS.get(name, name)


def current_point(values: Mapping[str, Any]) -> dict[str, Any]:
    """A point of a search over methods, by today's names."""
    return {name: METHODS.get(value, value) if name == "method" else value for name, value in values.items()}


def stored_changes(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a stage of a schedule, by the names that are stored."""
    return rename(changes, inverse(CHANGES))


def current_changes(changes: Mapping[str, Any]) -> dict[str, Any]:
    return rename(changes, CHANGES)


def stored_section(path: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """A table of an experiment under its old names, which are hashed in the names of files."""
    return rename(record, inverse(KEYS[path]))


def stored_scoring(record: Mapping[str, Any]) -> dict[str, Any]:
    return rename(record, inverse(SCORING))


def current_experiment(record: Mapping[str, Any]) -> dict[str, Any]:
    """An experiment, as plain values, under today's names."""
    found: dict[str, Any] = current_value(record, ())
    return found


def current_value(value: Any, path: Path) -> Any:
    if len(path) > DEEPEST:  # below it there is no name of ours, and a damaged file may go on and on
        return value
    if isinstance(value, Mapping):
        names = KEYS.get(path, {})
        return {names.get(key, key): current_value(one, (*path, names.get(key, key))) for key, one in value.items()}
    if isinstance(value, list):
        return [current_value(one, (*path, "*")) for one in value]
    return VALUES.get(path, {}).get(value, value) if isinstance(value, str) else value


def retired_names(value: Any, path: Path = (), given: Path = ()) -> Iterator[Retired]:
    """The old names in an experiment, in the order in which it has them."""
    if isinstance(value, Mapping):
        names = KEYS.get(path, {})
        for key, one in value.items():
            if key in names:
                yield Retired((*given, key), key, names[key])
            yield from retired_names(one, (*path, names.get(key, key)), (*given, key))
    elif isinstance(value, list):
        for one in value:
            yield from retired_names(one, (*path, "*"), given)
    elif isinstance(value, str) and value in (words := VALUES.get(path, {})):
        yield Retired(given, value, words[value])


def rename(record: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(key, key): value for key, value in record.items()}


def inverse(names: Mapping[str, str]) -> dict[str, str]:
    return {new: old for old, new in names.items()}
