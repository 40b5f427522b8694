"""Objects of a program on their way to workers: written once into the experiment's folder, and named by their content.

A network or space goes into a pickle, a network's weights beside it as a checkpoint, images into an .npz file of plain
arrays. A file is written only if none of the same identity is there, so that the same program continues its experiment.
"""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import cloudpickle  # type: ignore[import-untyped]  # it has no types
import numpy as np
from torch import nn

from automl_kd import storage
from automl_kd.api.identity import identity_of
from automl_kd.errors import ConfigError
from automl_kd.models.weights.checkpoint import save_weights
from automl_kd.registry import PICKLED, name_type
from automl_kd.results.store.folder import require_writable
from automl_kd.space import SearchSpace
from automl_kd.storage.content_hash import pin

OBJECTS = "_objects"
"""In an experiment's folder; a folder with such names alone counts as empty."""


def name_space(space: object, folder: Path) -> str:
    """The reference to a search space: a text as it is, an object by the file in `folder` that holds it."""
    if isinstance(space, str):
        return space
    if not isinstance(space, SearchSpace):
        raise ConfigError(f"space is {name_type(space)}; give a SearchSpace, or a text such as module:SPACE")
    return write_pickle(space, re.sub(r"\W+", "_", space.name), folder)


def name_student(student: object, folder: Path) -> str:
    """The reference to the space of one student."""
    if isinstance(student, str):
        return f"model:{student}"
    if isinstance(student, nn.Module) or not callable(student):
        raise ConfigError(
            f"student is {name_type(student)}, and every seed trains one from fresh weights; give a model's "
            "name, or a function of an InputShape that builds the network"
        )
    return f"model:{name_builder(student, folder)}"


def name_builder(function: Any, folder: Path) -> str:
    return write_pickle(function, getattr(function, "__name__", type(function).__name__), folder)


def name_network(network: nn.Module, folder: Path) -> tuple[str, str]:
    """The references to a network and to the checkpoint of its weights."""
    kept = copy_to_processor(network)
    name = write_pickle(kept, type(network).__name__, folder)
    weights = folder / OBJECTS / f"{type(network).__name__}-{identity_of(kept)}.pt"
    if not weights.exists():
        save_weights(kept, weights)
    return name, str(weights)


def copy_to_processor(network: nn.Module) -> nn.Module:
    """A copy of the network in single precision, as everything is run, without gradients."""
    try:
        copy = deepcopy(network).cpu().float()
    except Exception as error:  # a network's own code may raise anything
        raise ConfigError(
            f"the {type(network).__name__} cannot be copied ({type(error).__name__}: {error}); give a function of an "
            "InputShape that builds it, and its weights as a checkpoint"
        ) from error
    copy.zero_grad(set_to_none=True)
    return copy


def write_pickle(found: object, label: str, folder: Path) -> str:
    """The name of the pickle of `found`, with the hash of its content. It is not written again if it is there."""
    path = folder / OBJECTS / f"{label.strip('<>')}-{identity_of(found)}.pkl"
    storage.pull_file(path)
    if not path.exists():
        try:
            content = cloudpickle.dumps(found)
        except Exception as error:  # whatever an object refuses to be pickled with
            raise ConfigError(
                f"{label} cannot be sent to workers ({type(error).__name__}: {error}); let it hold no open files, "
                "locks or the like"
            ) from error
        write_object(path, content)
    return f"{PICKLED}{pin(str(path))}"


def write_object(path: Path, content: bytes) -> None:
    """Write a file of `_objects`, whose folder is made. `ResultError` where nothing may be written."""
    require_writable(path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    storage.write(path, content)


@contextmanager
def removed_on_error(folder: Path) -> Iterator[None]:
    """Inside, objects are written and an experiment is checked; if it is refused, nothing of it is left."""
    try:
        yield
    except BaseException:
        if not any((folder / name).exists() for name in ("experiment.json", "lock")):
            shutil.rmtree(folder / OBJECTS, ignore_errors=True)
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        raise


def to_bytes(arrays: Mapping[str, Any]) -> bytes:
    """An .npz file of plain arrays; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()
