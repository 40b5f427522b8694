"""An experiment as typed records, and its strict reading from TOML.

Every field has a type, most a default; an unknown key, a wrong type or a value out of range is a `ConfigError` whose
one sentence names the key. `Experiment(...)` and `dataclasses.replace` work in Python without any file.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, get_type_hints

import pydantic

from automl_kd.errors import ConfigError
from automl_kd.registry import suggestion
from automl_kd.space import Scalar
from automl_kd.spec import DataSpec, Recipe, TeacherSpec, require

T = TypeVar("T")

SEEDS = 1_000_000
"""Seeds lie below this; search, choice and finals add different multiples of it, so that no trial serves in two."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a student may cost; 0 sets no limit. Every proposer, baseline and finalist keeps to it.

    `params`: trainable parameters. `macs`: multiply-adds for one image. `latency_ms`: median forward of one image on
    the processor of the machine that proposes, one thread.
    """

    params: int = 0
    macs: int = 0
    latency_ms: float = 0.0

    def __post_init__(self) -> None:
        require(min(self.params, self.macs, self.latency_ms) >= 0, "limits must be 0 (none) or more")


@dataclass(frozen=True, kw_only=True)
class Search:
    """How architectures are proposed and which trials may go on.

    `objectives`: what proposers compare; the first one also rules the scheduler and the choice of finalists and is
    measured on validation. A leading minus minimises: `["val_accuracy", "-params"]`.
    `screen`: proxies whose rank sum picks the best of `pool` candidates for each trial; empty does not screen.
    `probe_images`, `draws`: images in a proxy's batch, and how often weights and images are drawn anew.
    `grace_epochs`, `reduction`: ASHA's first rung and its halving factor.
    """

    proposer: str = "evolution"
    options: Mapping[str, Scalar] = field(default_factory=dict)
    trials: int = 12
    objectives: tuple[str, ...] = ("val_accuracy",)
    screen: tuple[str, ...] = ()
    pool: int = 20
    probe_images: int = 64
    draws: int = 1
    scheduler: Literal["none", "asha"] = "asha"
    grace_epochs: int = 1
    reduction: float = 3.0

    def __post_init__(self) -> None:
        require(self.trials >= 1, f"trials must be 1 or more, got {self.trials}")
        require(self.pool >= 1, f"pool must be 1 or more, got {self.pool}")
        require(self.draws >= 1, f"draws must be 1 or more, got {self.draws}")
        require(self.probe_images >= 2, f"probe_images must be 2 or more, got {self.probe_images}")
        require(self.grace_epochs >= 1, f"grace_epochs must be 1 or more, got {self.grace_epochs}")
        require(self.reduction > 1, f"reduction must be above 1, got {self.reduction}")
        require(
            bool(self.objectives) and self.objectives[0] == "val_accuracy",
            'objectives must begin with "val_accuracy": trials are compared on validation',
        )


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one trial is given, and how many run at once.

    `device`: "auto" takes GPUs where the machine or cluster has some. `cpus`: cores, and torch threads.
    `gpus`: for trials on "cuda"; may be a fraction, so that small students share one GPU.
    `concurrent`: trials at once; 0 means as many as there is room for.
    `retries`: how often a trial whose process died is started again, from its checkpoint.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    cpus: int = 1
    gpus: float = 1.0
    concurrent: int = 0
    retries: int = 2

    def __post_init__(self) -> None:
        require(self.cpus >= 1, f"cpus must be 1 or more, got {self.cpus}")
        require(self.gpus > 0, f"gpus must be above 0, got {self.gpus}; for the CPU set device = 'cpu'")
        require(self.gpus <= 1 or self.gpus == int(self.gpus), f"gpus must be whole or at most 1, got {self.gpus}")
        require(min(self.concurrent, self.retries) >= 0, "concurrent and retries must be 0 or more")


@dataclass(frozen=True, kw_only=True)
class Finalists:
    """The comparison at the end: the found student and the baselines, trained again with every one of `seeds`.

    `count`: so many of the best trials of the search are trained again with as many other seeds, and the best of these
    by mean validation accuracy is the found student; 1 takes the best trial, which owes more to chance.
    `epochs`: for the found student with its method; 0 keeps the recipe's. Baselines get the epochs that cost the same
    multiply-adds. `baseline`: the student that one would take without a search; empty takes the space's default.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    count: int = 3
    epochs: int = 0
    baseline: Mapping[str, Scalar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(len(set(self.seeds)) == len(self.seeds) >= 1, f"seeds must be distinct and at least one: {self.seeds}")
        require(all(0 <= seed < SEEDS for seed in self.seeds), f"seeds must lie in 0 to {SEEDS - 1}, got {self.seeds}")
        require(self.count >= 1, f"count must be 1 or more, got {self.count}")
        require(self.epochs >= 0, f"epochs must be 0 (the recipe's) or more, got {self.epochs}")


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One search from its teacher to its leaderboard. `name` also names the folder of its results."""

    name: str
    space: str
    method: str = "kd"
    options: Mapping[str, Scalar] = field(default_factory=dict)
    seed: int = 0
    data: DataSpec = field(default_factory=DataSpec)
    teacher: TeacherSpec = field(default_factory=TeacherSpec)
    recipe: Recipe = field(default_factory=Recipe)
    budget: Budget = field(default_factory=Budget)
    search: Search = field(default_factory=Search)
    trial: Resources = field(default_factory=Resources)
    finalists: Finalists = field(default_factory=Finalists)

    def __post_init__(self) -> None:
        require(
            re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", self.name) is not None,
            f"name must be at most 100 letters, digits, '.', '_' or '-', as it names a folder; got {self.name!r}",
        )
        require(0 <= self.seed < SEEDS, f"seed must lie in 0 to {SEEDS - 1}, got {self.seed}")


def load(path: Path, overrides: Iterable[str] = ()) -> Experiment:
    """The experiment that the TOML file at `path` describes, after `key=value` overrides ("search.trials=5")."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"no experiment could be read from {path}: {error.strerror}; give the path of a TOML file"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not text in UTF-8; give the path of a TOML file") from error
    return loads(text, overrides, where=str(path))


def loads(text: str, overrides: Iterable[str] = (), *, where: str = "experiment") -> Experiment:
    try:
        record = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where} is not valid TOML: {error}") from error
    for override in overrides:
        merge(record, override)
    return parse(Experiment, record, where)


def merge(record: dict[str, Any], override: str) -> None:
    """Set one dotted key. The value is read as TOML; a bare word is taken as a string."""
    key, equals, value = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError(f"--set needs key=value, got {override!r}; for instance --set search.trials=20")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    for part in parts[:-1]:
        record = record.setdefault(part, {})
        if not isinstance(record, dict):
            raise ConfigError(f"--set {override}: {part!r} is a value, not a section that holds {parts[-1]!r}")
    record[parts[-1]] = parsed


def parse(kind: type[T], record: Mapping[str, Any], where: str) -> T:
    """`record` as the dataclass `kind`: unknown keys, wrong types and values out of range are a `ConfigError`."""
    refuse_unknown(kind, record, where, "")
    refuse_nonfinite(record, where, "")
    try:
        return pydantic.TypeAdapter(kind).validate_json(json.dumps(record, default=str), strict=True)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        # A tagged union reports the tried type behind the key; keys of our records never hold brackets or spaces.
        key = ".".join(str(part) for part in first["loc"] if str(part) not in {"bool", "int", "float", "str"})
        raise ConfigError(f"{where}: {sentence(key, first)}") from error


def sentence(key: str, error: Any) -> str:
    if error["type"] == "missing":
        return f"{key} is missing; add it"
    if error["type"] == "value_error":
        return f"{key + ': ' if key else ''}{error['ctx']['error']}"
    wanted = error["msg"].removeprefix("Input should be ")
    return f"{key} = {json.dumps(error['input'])} does not fit; it should be {wanted}"


def refuse_unknown(kind: type[Any], record: Mapping[str, Any], where: str, prefix: str) -> None:
    hints = get_type_hints(kind)
    known = [item.name for item in dataclasses.fields(kind)]
    for key, value in record.items():
        if key not in known:
            wanted = suggestion(key, known) if known else "there are none to set"
            raise ConfigError(f"{where}: unknown key {prefix + key!r}; {wanted}")
        if dataclasses.is_dataclass(hints[key]) and isinstance(value, Mapping):
            refuse_unknown(hints[key], value, where, f"{prefix}{key}.")


def refuse_nonfinite(record: Mapping[str, Any], where: str, prefix: str) -> None:
    for key, value in record.items():
        if isinstance(value, Mapping):
            refuse_nonfinite(value, where, f"{prefix}{key}.")
        elif isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{where}: {prefix}{key} is {value}; it should be a finite number")


def to_record(experiment: Experiment) -> dict[str, Any]:
    """The resolved experiment as plain values: what is stored beside its results and shown by `show`."""
    record: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(experiment)))
    return record
