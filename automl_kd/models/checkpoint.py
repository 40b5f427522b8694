"""Weights on disk: saved whole or not at all, loaded only where they fit."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from automl_kd import storage
from automl_kd.errors import CheckpointError
from automl_kd.files import open_file

WRAPPERS = ("model", "state_dict", "model_state")
"""Keys under which training scripts keep a network's weights beside other things."""

SHOWN = 3
"""How many of the keys that do not fit a message names."""


def save_weights(model: nn.Module, path: str | Path) -> None:
    """Write the model's `state_dict`, making folders as needed; a reader sees the old file or the new, whole.

    `CheckpointError` if the file cannot be written.
    """
    path = Path(path)
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    try:
        storage.write(path, buffer.getbuffer())
    except OSError as error:
        raise CheckpointError(
            f"weights could not be written to {path} ({error.strerror}); free or choose a folder"
        ) from error


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Copy the weights in `path` into `model`, all of them or none.

    Reads a bare `state_dict` or one kept under a key of `WRAPPERS`; the prefix "module." that data-parallel training
    leaves is dropped. `CheckpointError` if the file is missing, damaged, or of another network.
    """
    saved = read(Path(path))
    own = model.state_dict()
    if all(key.startswith("module.") for key in saved) and not any(key.startswith("module.") for key in own):
        saved = {key.removeprefix("module."): value for key, value in saved.items()}
    check_fit(own, saved, path)
    model.load_state_dict(saved)


def read(path: Path) -> dict[str, Tensor]:
    """The `state_dict` in a file, on the processor. Only tensors and plain values are unpickled: no code runs."""
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint file {path}; check the path")
    try:
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"checkpoint {path} is damaged or holds more than tensors and plain values; save its state_dict alone"
        ) from error
    except Exception as error:
        # What torch raises depends on where the damage lies (struct.error and AssertionError among others).
        raise CheckpointError(f"checkpoint {path} cannot be read ({type(error).__name__}); save it again") from error
    for wrapper in WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
    if not is_state(found):
        raise CheckpointError(
            f"checkpoint {path} holds no state_dict; save model.state_dict(), bare or under {', '.join(WRAPPERS)}"
        )
    return dict(found)


def is_state(found: object) -> bool:
    """Whether this is a mapping from names to tensors, with at least one."""
    return (
        isinstance(found, Mapping)
        and len(found) > 0
        and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in found.items())
    )


def check_fit(own: Mapping[str, Tensor], saved: Mapping[str, Tensor], path: str | Path) -> None:
    """Raise `CheckpointError`, which says how they differ, unless names and shapes are the same."""
    missing = [key for key in own if key not in saved]
    unexpected = [key for key in saved if key not in own]
    if missing or unexpected:
        raise CheckpointError(
            f"checkpoint {path} is of another network: {listed(missing, 'missing')}, "
            f"{listed(unexpected, 'unexpected')}; name the model that it was saved from"
        )
    different = [key for key in own if own[key].shape != saved[key].shape]
    if not different:
        return
    if (classes := class_counts(own, saved, different)) is not None:
        raise CheckpointError(
            f"checkpoint {path} has {classes[0]} classes, the data has {classes[1]}; "
            "take a checkpoint trained on this data"
        )
    shapes = (f"{key} is {list(saved[key].shape)}, wanted {list(own[key].shape)}" for key in different[:SHOWN])
    raise CheckpointError(
        f"checkpoint {path} has {len(different)} tensors of another shape ({'; '.join(shapes)}); "
        "name the model that it was saved from"
    )


def listed(keys: Iterable[str], kind: str) -> str:
    names = list(keys)
    if not names:
        return f"0 keys {kind}"
    return f"{len(names)} keys {kind} ({', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''})"


def class_counts(
    own: Mapping[str, Tensor], saved: Mapping[str, Tensor], different: Iterable[str]
) -> tuple[int, int] | None:
    """Classes (saved, wanted), if the last layer's number of outputs is all that differs."""
    classifier = list(own)[-1].rpartition(".")[0]
    for key in different:
        same_inside = own[key].shape[1:] == saved[key].shape[1:]
        if key.rpartition(".")[0] != classifier or not own[key].ndim or not saved[key].ndim or not same_inside:
            return None
    last = next(iter(different))
    return saved[last].shape[0], own[last].shape[0]


def digest(path: str | Path) -> str:
    """SHA-256 of the file's content, as 64 hex digits; `CheckpointError` if there is no such file."""
    try:
        with open_file(Path(path)) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"checkpoint file {path} cannot be read ({error.strerror}); check the path") from error
