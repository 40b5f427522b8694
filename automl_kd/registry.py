"""Names to things: entries of a table, or `module:attribute` for code that is in no table."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import math
import os
import sys
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from automl_kd.errors import ConfigError, UnknownNameError

T = TypeVar("T")

BESIDE = "AUTOML_KD_BESIDE"
"""Variable of the environment, through which worker processes learn it: folders in which references are looked for
last, those of the experiment's file and of the command."""

PICKLED = "pickled:"
"""Before the name of a network or space that a Python program gave as an object; see `models.pickled`."""

SLUG = "[a-z0-9][a-z0-9-]{0,49}"
"""What a name looks like that also names files and stands in tables."""


def lookup(table: Mapping[str, T], name: str, kind: str) -> T:
    """The entry called `name`, or what `module:attribute` refers to.

    `kind` ("proxy", "method") appears in the message of the `UnknownNameError` that a wrong name raises.
    """
    if name in table:
        return table[name]
    if ":" in name:
        found: T = load_reference(name)
        return found
    raise UnknownNameError(f"no {kind} is called {name!r}; {suggestion(name, table)}")


def lookup_options(table: Mapping[str, T], name: str, kind: str, members: Iterable[str]) -> T:
    """As `lookup`, where entries are options: frozen dataclasses with `members` and a default for every field.

    `ConfigError` if a reference leads to something else.
    """
    found, wanted = lookup(table, name, kind), tuple(members)
    if name not in table and (fault := no_options(found, wanted)):
        raise ConfigError(
            f"{name!r} is no {kind}, since it {fault}; name a frozen dataclass with {', '.join(wanted)} "
            "and a default for every field"
        )
    return found


def no_options(found: Any, members: Iterable[str]) -> str:
    """What keeps `found` from being options with these members; empty if nothing does."""
    if not isinstance(found, type):
        return f"is {name_type(found)}"
    if not dataclasses.is_dataclass(found) or not getattr(found, "__dataclass_params__").frozen:  # noqa: B009 - has no type
        return "is not a frozen dataclass"
    # Not `hasattr`: every class can be called, and only some have instances that can.
    if missing := [name for name in members if not any(name in vars(base) for base in found.__mro__)]:
        return f"lacks {missing[0]}"
    none = dataclasses.MISSING
    bare = [one.name for one in dataclasses.fields(found) if one.default is none and one.default_factory is none]
    return f"has no default for {bare[0]}" if bare else ""


def name_type(value: object) -> str:
    """Its type, with the article that goes before it as it is spoken: "an EfficientNet", "a UNet", "an MLP"."""
    name = type(value).__name__
    sounds_open = "AEFHILMNORSX" if name[:2].isupper() else "AEIOaeio"  # two capitals are spelled out
    return f"an {name}" if name[0] in sounds_open else f"a {name}"


def suggestion(name: str, known: Iterable[str]) -> str:
    """The close of a message about an unknown name: the nearest known one, or all of them."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(names)}"


def check_fields(record: Any) -> None:
    """What every record of options checks when it is made, whether from a file or in Python.

    `ValueError` for a field annotated with a `Literal`, or as a tuple of one, that holds something else, and for a real
    number that is not finite: either would be taken for a default, or end in NaN, in silence.
    """
    for name, options in choices_of(type(record)).items():  # type: ignore[arg-type]  # mypy doubts that classes are hashable
        value = getattr(record, name)
        for one in value if isinstance(value, tuple | list) else (value,):
            if one not in options:
                raise ValueError(f"{name} = {one!r} is no choice; take one of {', '.join(map(repr, options))}")
    for item in dataclasses.fields(record):
        value = getattr(record, item.name)
        numbers = value if isinstance(value, tuple) else (value,)
        if any(isinstance(one, float) and not math.isfinite(one) for one in numbers):
            raise ValueError(f"{item.name} must be finite, got {value}")


@cache
def choices_of(kind: type[Any]) -> Mapping[str, tuple[Any, ...]]:
    """The values that are allowed to fields of a dataclass that may have only some."""
    found = {name: literal_in(hint) for name, hint in get_type_hints(kind).items()}
    return {name: get_args(hint) for name, hint in found.items() if hint is not None}


def literal_in(hint: Any) -> Any | None:
    """The `Literal` that a type is, or that its members are."""
    held = [hint, *get_args(hint)] if get_origin(hint) is tuple else [hint]
    return next((one for one in held if get_origin(one) is Literal), None)


def load_reference(reference: str) -> Any:
    """Import `module:attribute`. Workers do the same, so whatever it names must be importable there too."""
    module_name, _, attribute = reference.partition(":")
    if not attribute or not all(piece.isidentifier() for piece in module_name.split(".")):
        raise UnknownNameError(f"{reference!r} is not a reference; write it as module:attribute")
    look_beside(module_name.partition(".")[0])
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        beside = " or ".join(folders_beside()) or "a folder of PYTHONPATH"
        raise UnknownNameError(
            f"no module {error.name!r} could be imported for {reference!r}; install it, or put it into {beside}"
        ) from error
    except Exception as error:
        raise UnknownNameError(
            f"importing {module_name!r} for {reference!r} failed ({type(error).__name__}: {error}); fix it"
        ) from error
    if not hasattr(module, attribute):
        raise UnknownNameError(
            f"module {module_name!r} has no {attribute!r}; {suggestion(attribute, public_names(module))}"
        )
    return getattr(module, attribute)


def search_beside(*folders: Path) -> None:
    """Let references be looked for in these folders too, by this process and by those that it starts."""
    os.environ[BESIDE] = os.pathsep.join(dict.fromkeys(str(folder.resolve()) for folder in folders))


def folders_beside() -> list[str]:
    return [folder for folder in os.environ.get(BESIDE, "").split(os.pathsep) if folder]


def look_beside(name: str) -> None:
    """Put the folder that has the module or package `name` on the path, if nothing else has one of this name.

    It comes last, and only where it is asked for by name, so that no file in it takes the place of another module.
    """
    if name in sys.modules or not folders_beside() or importlib.util.find_spec(name) is not None:
        return
    for folder in folders_beside():
        if (Path(folder) / f"{name}.py").is_file() or (Path(folder) / name / "__init__.py").is_file():
            sys.path.append(folder)
            importlib.invalidate_caches()
            return


def public_names(module: object) -> list[str]:
    return [name for name in vars(module) if not name.startswith("_")]
