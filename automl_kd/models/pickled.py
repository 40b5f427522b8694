"""Networks and spaces that a Python program gave as objects: read back from the files that its call wrote.

Such a file lies in the folder of its experiment, and its name in a spec holds the hash of its content:
"pickled:/results/mine/_objects/Net-0123456789abcdef.pkl@sha256-" and 64 hex digits. Unpickling runs code, so nothing
else is read: a name without a hash, a file of another content and a name in an experiment's TOML file are refused. The
hash says that a file is the one that was written, not who wrote it, so `load_student` asks whether the folder is
trusted.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from automl_kd import storage
from automl_kd.errors import ConfigError
from automl_kd.files import open_file
from automl_kd.registry import PICKLED, look_beside
from automl_kd.spec import BLACK_BOX, FOLDERS
from automl_kd.storage.content_hash import PIN, located_path


def pickled_name(name: str) -> str:
    """For people, what the object is called in the program that gave it."""
    return Path(PIN.sub("", name.removeprefix(PICKLED))).stem.rpartition("-")[0] or name


def label_pickled(name: str) -> str:
    """`name` for people: what an object is called in its program, a file or folder without those above it and a hash.

    Any other name as it is.
    """
    plain = name.removeprefix("model:")
    if plain.startswith(BLACK_BOX):
        return Path(PIN.sub("", plain.removeprefix(BLACK_BOX))).name
    if prefix := next((one for one in FOLDERS if plain.startswith(one)), ""):
        path = Path(PIN.sub("", plain.removeprefix(prefix)))
        return prefix + (path.parent.name if PIN.search(plain) else path.name)
    return pickled_name(plain) if plain.startswith(PICKLED) else name


def find_moved(name: str, folder: Path) -> str:
    """`name` with the file that lies in `folder` in place of one that is gone: a results folder may be moved."""
    file = Path(PIN.sub("", name).rpartition(PICKLED)[2])
    if PICKLED not in name or file.exists() or not (folder / file.name).exists():
        return name
    return name.replace(str(file), str((folder / file.name).resolve()))


def load_pickled(name: str) -> Any:
    """The object in the file that `name` stands for, made anew in each call.

    `ConfigError` if the file is gone or has changed, or the object needs a module that cannot be imported here.
    """
    if PIN.search(name) is None:
        raise ConfigError(
            f"{name!r} names an object of a Python program without the hash of its content; give the object itself to "
            "automl_kd in Python"
        )
    file = storage.local_path(PIN.sub("", name.removeprefix(PICKLED)))
    storage.pull_file(file)
    with open_file(located_path(name.removeprefix(PICKLED))) as opened:
        content = opened.read()
    try:
        try:
            return pickle.loads(content)  # noqa: S301 - see above
        except ModuleNotFoundError as error:
            look_beside(str(error.name).partition(".")[0])
            return pickle.loads(content)  # noqa: S301 - likewise
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"{pickled_name(name)} was made by code that cannot be imported here ({error}); run this in the folder of "
            "the program that made it, or put its code into a module of PYTHONPATH"
        ) from error
    except Exception as error:  # a class's own code may raise anything
        raise ConfigError(
            f"{pickled_name(name)} cannot be read back from {file} ({type(error).__name__}: {error}); let its class be "
            "one that pickle can read"
        ) from error
