"""Files of weights as training scripts leave them, read without running any code that they hold.

`torch.load` builds tensors and plain values alone (`weights_only=True`). A file of the trade has other things beside
its weights: options, a config, a scalar of numpy. Each class that torch does not know stands by name in the file's own
list; for each, and for this reading only, torch gets an inert class that keeps its arguments and does nothing.
"""

from __future__ import annotations

import pickle
import pickletools
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Never

import torch

from automl_kd.errors import CheckpointError

PICKLES = 5
"""How many pickles stand at the beginning of a file that torch before 1.6 wrote; the fourth holds what was saved."""


class StandIn(list[object]):
    """In the place of an object whose class is not known here. A list, so that lists of other classes can be read.

    `origin`: name of that class or function, as the file has it. `state`: the attributes that the object had.
    """

    __slots__ = ("state",)
    origin = ""

    def __init__(self, *_given: object, **_options: object) -> None:
        super().__init__()

    def __setstate__(self, state: object) -> None:
        self.state = state

    __hash__ = object.__hash__  # type: ignore[assignment]  # unlike a list, an object may be a key
    __eq__ = object.__eq__


class DictStandIn:
    """In the place of a dictionary of another class: torch fills those alone that it knows."""

    def __new__(cls, *_given: object, **_options: object) -> OrderedDict[object, object]:  # type: ignore[misc]  # wanted
        return OrderedDict()


def read_weights_file(path: Path) -> object:
    """What was saved in `path`, with tensors on the processor and `StandIn`s for objects of other classes.

    `CheckpointError` if the file is missing, damaged, or of a kind that holds no weights for a network of ours.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint file {path}; check the path")
    if is_safetensors(path):
        return read_safetensors(path)
    refuse_programs(path)
    # Not only warnings about the file's age: our own sentence replaces torch's warnings about a file.
    with warnings.catch_warnings(action="ignore"):
        return read_pickled(path)


def read_pickled(path: Path) -> object:
    try:
        names = {name: stand_in(name) for name in foreign_names(path)}
        with torch.serialization.safe_globals([(kind, name) for name, kind in names.items()]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"checkpoint {path} is damaged or holds more than tensors and plain values; save its state_dict alone"
        ) from error
    except Exception as error:
        # What torch raises depends on where the damage lies (struct.error and AssertionError among others).
        raise CheckpointError(f"checkpoint {path} cannot be read ({type(error).__name__}); save it again") from error


def stand_in(name: str) -> type:
    """The inert class for the class or function called `name` in a file."""
    if name.casefold().endswith("dict"):
        return DictStandIn
    return type("StandIn", (StandIn,), {"__slots__": (), "origin": name})


def foreign_names(path: Path) -> set[str]:
    """Classes and functions that the file names, all but those that torch takes for harmless."""
    if zipfile.is_zipfile(path):
        return set(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    found: set[str] = set()
    with path.open("rb") as file, suppress(Exception):  # damaged, which reading it reports
        for _ in range(PICKLES):
            found |= set(named_in(file))
    return found  # those that torch knows it builds itself, whatever else is offered


def named_in(file: Any) -> Iterator[str]:
    """Names of the pickle that begins here, module and class joined by a dot as torch joins them."""
    for operation, argument, _ in pickletools.genops(file):
        if operation.name == "GLOBAL":
            assert isinstance(argument, str)  # of the two that it consists of, with a space between
            module, _, name = argument.partition(" ")
            yield f"{module.replace('__builtin__', 'builtins')}.{name}"


def is_safetensors(path: Path) -> bool:
    """Whether the file begins as one: eight bytes with the length of the JSON that follows."""
    with path.open("rb") as file:
        head = file.read(9)
    return len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") <= path.stat().st_size - 8


def read_safetensors(path: Path) -> object:
    # Imported here: experiments without such a file need not pay for it.
    from safetensors import SafetensorError  # noqa: PLC0415
    from safetensors.torch import load_file  # noqa: PLC0415

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"checkpoint {path} is damaged ({reason}); save it again") from error


def refuse_programs(path: Path) -> None:
    """`CheckpointError` for archives that hold a program with its weights, or no pickle of torch at all."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return  # of torch before 1.6, or damaged, which reading it reports
    inside = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inside:
        refuse_file(
            path, "a TorchScript program", f"torch.save(torch.jit.load({path.name!r}).state_dict(), 'weights.pt')"
        )
    if inside & {"archive_format", "models/model.json"} or "serialized_exported_program.json" in names:
        export = f"torch.save(torch.export.load({path.name!r}).state_dict, 'weights.pt')"
        refuse_file(path, "a program of torch.export", export)
    if "data.pkl" not in inside:
        raise CheckpointError(
            f"checkpoint {path} is an archive without weights of torch; save the network's state_dict by torch.save"
        )


def refuse_file(path: Path, what: str, remedy: str) -> Never:
    raise CheckpointError(
        f"checkpoint {path} is {what}, which can be run but not looked into; save its weights by {remedy} and name "
        "the network that it was made from as teacher.model"
    )
