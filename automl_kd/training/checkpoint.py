"""The state of an unfinished trial on disk: written beside and renamed, so that it is whole or absent."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from automl_kd import storage
from automl_kd.errors import CheckpointError

State = dict[str, Any]


def save(state: State, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f"_{path.name}.{os.getpid()}")
    try:
        with scratch.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
    storage.push(path)


def load(path: Path, device: torch.device) -> State | None:
    """The saved state, or None where there is none yet."""
    if not path.exists():
        return None
    try:
        state: State = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, ValueError) as error:
        raise CheckpointError(f"the checkpoint {path} cannot be read; delete it to train that trial anew") from error
    return state
