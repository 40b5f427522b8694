"""The strict reading of experiments from TOML, and of options: every refusal is one sentence that names the key."""

from __future__ import annotations

import dataclasses
import json
import math
import shlex
import tomllib
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_type_hints

import pydantic

from automl_kd.config.beside import locate, with_data_and_options
from automl_kd.config.earlier.retired import refuse_retired
from automl_kd.config.experiment import Experiment
from automl_kd.config.kinds import CORE_KINDS, choose_kind
from automl_kd.config.recipe_names import NoteSentence, expand_recipes
from automl_kd.errors import ConfigError, FileError
from automl_kd.files import read_text
from automl_kd.registry import PICKLED, suggestion
from automl_kd.spec import BLACK_BOX, FOLDERS, FRESH, FROM_TEACHER, TeacherSpec, teacher_sections

T = TypeVar("T")

DEEPEST = 20
"""How deep tables and lists of an experiment may be nested; ours are four deep."""


UNNAMED = "experiment"
"""Where a text comes from that is in no file."""


def load_experiment(
    path: Path,
    overrides: Iterable[str] = (),
    kinds: Mapping[str, type[T]] = CORE_KINDS,
    say: NoteSentence = lambda _sentence: None,
) -> Experiment | T:
    """The experiment that the TOML file at `path` describes, after `key=value` overrides ("search.trials=5").

    `kinds`: records of other kinds of experiment, by the section that makes an experiment one of them.
    `say`: is told what was settled for the user. Relative files, as of the teacher, are looked for beside the file, and
    then where the command was typed; data, and files among the options of methods, the other way round.
    """
    try:
        text = read_text(path)
    except FileError as error:
        raise ConfigError(
            f"no experiment could be read from {path}: {error.strerror}; give the path of a TOML file"
        ) from error
    found = loads(text, overrides, where=str(path), kinds=kinds, say=say)
    if not isinstance(found, Experiment):
        return found
    members = [
        place_files(one, path, f"{path}: {section}")
        for section, one in zip(teacher_sections(found.teacher), found.teacher.members, strict=True)
    ]
    # automl-kd profile reads the experiment to write this file.
    profile = locate(found.budget.profile, path.parent, f"{path}: budget.profile", needed=False)
    return with_inits(
        dataclasses.replace(
            with_data_and_options(found, path.parent),
            teacher=found.teacher.with_members(members),
            budget=dataclasses.replace(found.budget, profile=profile),
        ),
        lambda init, key: locate_init(init, path.parent, f"{path}: {key}"),
    )


def locate_init(init: str, folder: Path, key: str) -> str:
    """As `locate`; of what is no file and nearly a word, the word is named."""
    try:
        return locate(init, folder, key)
    except ConfigError as error:
        if meant := get_close_matches(init.casefold(), (FRESH, FROM_TEACHER), n=1, cutoff=0.8):
            raise ConfigError(f"{error}; did you mean {meant[0]!r}?") from None
        raise


def place_files(teacher: TeacherSpec, path: Path, where: str) -> TeacherSpec:
    """The teacher with its relative files found, beside the experiment's file at `path` or in the current folder."""
    places: dict[str, Any] = {
        name: locate(getattr(teacher, name), path.parent, f"{where}.{name}") for name in ("checkpoint", "class_names")
    }
    if prefix := next((one for one in (*FOLDERS, BLACK_BOX) if teacher.model.startswith(one)), ""):
        named = teacher.model.removeprefix(prefix)
        places["model"] = prefix + locate(named, path.parent, f"{where}.model")
    return dataclasses.replace(teacher, **places)


def with_inits(experiment: Experiment, settle: Callable[[str, str], str]) -> Experiment:
    """The experiment with each file that students begin with as `settle` has it, given the file and its key."""

    def settled(init: str, key: str) -> str:
        return init if init in {"", FRESH, FROM_TEACHER} else settle(init, key)

    compared = [
        dataclasses.replace(one, init=settled(one.init, f"init of {one.name!r}"))
        for one in experiment.comparison.methods
    ]
    return dataclasses.replace(
        experiment,
        student=dataclasses.replace(experiment.student, init=settled(experiment.student.init, "student.init")),
        comparison=dataclasses.replace(experiment.comparison, methods=tuple(compared)),
    )


def loads(
    text: str,
    overrides: Iterable[str] = (),
    *,
    where: str = UNNAMED,
    kinds: Mapping[str, type[T]] = CORE_KINDS,
    say: NoteSentence = lambda _sentence: None,
) -> Experiment | T:
    try:
        record = read_toml(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where} is not valid TOML: {error}") from error
    refuse_strange(record, where)
    file = shlex.join([where]) if where != UNNAMED else "FILE"
    refuse_retired(record, where, f"run: automl-kd upgrade {file}")
    made = complete_record(record, overrides, where, say)
    refuse_pickled(made, where)
    return parse_record(choose_kind(made, kinds, where), made, where)


def complete_record(
    record: Mapping[str, Any],
    overrides: Iterable[str],
    where: str,
    say: NoteSentence = lambda _sentence: None,
) -> dict[str, Any]:
    """A copy of `record` after `key=value` overrides: names of recipes become their fields, keys with dots stay keys.

    No two sections of it are one object, so that an override of one leaves the others alone.
    """
    made: dict[str, Any] = copied(record)
    for override in overrides:
        merge(made, override)
    expand_recipes(made, where, say)
    for holder, name in ((made, "hyperparameters"), (made.get("search"), "perturb")):
        if isinstance(holder, dict) and isinstance(holder.get(name), Mapping):
            holder[name] = flat(holder[name])
    return made


def copied(value: Any) -> Any:
    """Tables and lists anew, all the way down; `copy.deepcopy` would keep one table in two places as one."""
    if isinstance(value, Mapping):
        return {key: copied(one) for key, one in value.items()}
    return [copied(one) for one in value] if isinstance(value, list) else value


def refuse_pickled(record: Mapping[str, Any], where: str) -> None:
    """`ConfigError` for an object of a Python program: what a text names is imported, and never unpickled."""
    teacher = record.get("teacher")
    named = {"space": record.get("space"), "teacher.model": teacher.get("model") if isinstance(teacher, dict) else None}
    others = teacher.get("others") if isinstance(teacher, dict) else None
    for place, other in iterate_members(others):
        named[f"teacher.others.{place}.model"] = other.get("model") if isinstance(other, dict) else None
    for key, value in named.items():
        if str(value).removeprefix("model:").startswith(PICKLED):
            raise ConfigError(
                f"{where}: {key} names an object of a Python program, which only that program can give; put its code "
                "into a module and write module:attribute"
            )


def read_toml(text: str) -> dict[str, Any]:
    """Tables of values; `TOMLDecodeError` also for what the reader itself cannot take."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError as error:
        raise tomllib.TOMLDecodeError(f"a value is nested more than {DEEPEST} deep") from error
    except ValueError as error:  # an integer of thousands of digits
        raise tomllib.TOMLDecodeError(f"a value cannot be read ({str(error).partition(';')[0]})") from error


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A table whose keys have dots in them, though TOML reads dots without quotes as tables within tables."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        nested = isinstance(value, Mapping) and not {"low", "high"} & set(value)
        found |= flat(value, f"{prefix}{key}.") if nested else {prefix + key: value}
    return found


def merge(record: dict[str, Any], override: str) -> None:
    """Set one dotted key. The value is read as TOML; a bare word is taken as a string."""
    key, equals, value = override.partition("=")
    parts = split_key(key.strip())
    if not equals or not all(parts):
        raise ConfigError(f"--set needs key=value, got {override!r}; for instance --set search.trials=20")
    parsed = as_value(value)
    refuse_strange({key.strip(): parsed}, "--set")
    refuse_retired(nest(parts, parsed), f"--set {override}", "write that")
    for table in (["hyperparameters"], ["search", "perturb"]):
        if parts[: len(table)] == table and len(parts) > len(table):
            parts = [*table, ".".join(parts[len(table) :]).replace('"', "")]
    for part in parts[:-1]:
        record = record.setdefault(part, {})
        if not isinstance(record, dict):
            raise ConfigError(f"--set {override}: {part!r} is a value, not a section that holds {parts[-1]!r}")
    record[parts[-1]] = parsed


def split_key(key: str) -> list[str]:
    """The parts of a dotted key as TOML writes it, some perhaps in quotes; at its dots where it is not TOML."""
    try:
        held: Any = read_toml(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        return key.split(".")
    parts = []
    while isinstance(held, dict):
        if len(held) != 1:  # a comment, or several lines
            return key.split(".")
        ((part, held),) = held.items()
        parts.append(part)
    return parts


def nest(parts: Sequence[str], value: Any) -> dict[str, Any]:
    """A table in a table for each of `parts`, the innermost with `value`."""
    for part in reversed(parts):
        value = {part: value}
    found: dict[str, Any] = value
    return found


def as_value(text: str) -> Any:
    """A value as TOML writes it, else the text itself; `ConfigError` for a value that its reader cannot take."""
    try:
        return read_toml(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        if isinstance(error.__cause__, RecursionError | ValueError):
            raise ConfigError(f"--set: {error}; give another value") from error
        return text.strip()


def parse_record(kind: type[T], record: Mapping[str, Any], where: str) -> T:
    """`record` as the dataclass `kind`: unknown keys, wrong types and values out of range are a `ConfigError`."""
    refuse_strange(record, where)
    refuse_unknown(kind, record, where, "")
    record = with_sampler(record) if kind is Experiment else record
    reader: pydantic.TypeAdapter[T] = validator(cast("Hashable", kind))
    try:
        return reader.validate_json(json.dumps(record, default=str), strict=True)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        # A tagged union reports the tried type behind the key; keys of our records never hold brackets or spaces.
        location = (str(part) for part in first["loc"])
        key = ".".join(part for part in location if part not in {"bool", "int", "float", "str"} and "[" not in part)
        raise ConfigError(f"{where}: {explain_error(key, first)}") from error


def with_sampler(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """An experiment's record in which several objectives have a sampler that follows them, where none is named."""
    search = record.get("search")
    if not isinstance(search, Mapping) or "sampler" in search or record.get("comparison"):  # which has no search
        return record
    objectives = search.get("objectives")
    if not isinstance(objectives, list | tuple) or len(objectives) < 2:
        return record
    return {**record, "search": {**search, "sampler": "nsga2"}}


@cache
def validator(kind: Any) -> pydantic.TypeAdapter[Any]:
    """The reader of `kind`, made once: a search reads a method's options for every proposal."""
    return pydantic.TypeAdapter(kind)


@cache
def field_types(kind: Any) -> dict[str, Any]:
    """The type of every field of the dataclass `kind`."""
    hints = get_type_hints(kind)
    return {item.name: hints[item.name] for item in dataclasses.fields(kind)}


def explain_error(key: str, error: Any) -> str:
    if error["type"] == "missing":
        return f"{key} is missing; add it"
    if error["type"] == "value_error":
        return f"{key + ': ' if key else ''}{error['ctx']['error']}"
    wanted = error["msg"].removeprefix("Input should be ")
    return f"{key} = {json.dumps(error['input'])} does not fit; it should be {wanted}"


def refuse_unknown(kind: type[Any], record: Mapping[str, Any], where: str, prefix: str) -> None:
    known = field_types(cast("Hashable", kind))
    for key, value in record.items():
        if key not in known:
            wanted = suggestion(key, known) if known else "there are none to set"
            raise ConfigError(f"{where}: unknown key {prefix + key!r}; {wanted}")
        if dataclasses.is_dataclass(known[key]) and isinstance(value, Mapping):
            refuse_unknown(known[key], value, where, f"{prefix}{key}.")
        elif (held := record_in(known[key])) is not None:
            for name, item in iterate_members(value):
                if isinstance(item, Mapping):
                    refuse_unknown(held, item, where, f"{prefix}{key}.{name}.")


def record_in(hint: Any) -> type[Any] | None:
    """The dataclass that the members of a mapping or tuple of this type may be, if there is one."""
    held = [option for kind in get_args(hint) for option in (kind, *get_args(kind))]
    return next((one for one in held if isinstance(one, type) and dataclasses.is_dataclass(one)), None)


def iterate_members(value: Any) -> Iterable[tuple[Any, Any]]:
    """Names and values of a table, numbers and values of a list, nothing of anything else."""
    if isinstance(value, Mapping):
        return value.items()
    return enumerate(value) if isinstance(value, list) else ()


def refuse_strange(record: Any, where: str) -> None:
    """`ConfigError` for what no field could take, wherever it stands: it is looked for before anything else is done."""
    waiting: list[tuple[str, Any, int]] = [("", record, 0)]
    while waiting:
        prefix, held, depth = waiting.pop()
        if depth > DEEPEST:
            raise ConfigError(
                f"{where}: {prefix.partition('.')[0]} is nested more than {DEEPEST} deep; make it flatter"
            )
        for key, value in iterate_members(held):
            if fault := find_fault(value) or ("has a name with the character NUL" if "\0" in str(key) else ""):
                raise ConfigError(f"{where}: {prefix}{key} {fault}".replace("\0", "\\0"))
            waiting.append((f"{prefix}{key}.", value, depth + 1))


def find_fault(value: Any) -> str:
    """What is wrong with a value, whatever it is of; empty if nothing is."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"is {value}; it should be a finite number"
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return "does not fit into 64 bits; give a number nearer to 0"
    if isinstance(value, str) and "\0" in value:
        return "holds the character NUL; take it out"
    return ""


def to_record(experiment: Any) -> dict[str, Any]:
    """The resolved experiment as plain values: what is stored beside its results and shown by `show`."""
    record: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(experiment)))
    return record
