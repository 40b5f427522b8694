"""The state of an unfinished trial on disk: written beside and renamed, so that it is whole or absent."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import torch

from automl_kd import distributed, files, storage
from automl_kd.errors import CheckpointError

OPTIMIZER, LOSS_MODULES = "optimiser", "adapters"
"""Under these keys checkpoints hold the states of optimizers and of loss modules, since their first version."""

State = dict[str, Any]


def save(state: State, path: Path) -> None:
    """Put `state` into the file at `path`; in a process group the main process does."""
    if not distributed.is_main_process():
        return
    with storage.replacing(path) as scratch, scratch.open("wb") as file:
        torch.save(state, file)


def load_checkpoint(path: Path, device: torch.device) -> State | None:
    """The saved state, or None where there is none yet."""
    if not path.exists():
        return None
    try:
        state: State = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, ValueError) as error:
        raise CheckpointError(f"the checkpoint {path} cannot be read; delete it to train that trial anew") from error
    return state


def epochs_saved(path: Path) -> int:
    """How many epochs the saved state has behind it; 0 where there is none."""
    state = load_checkpoint(path, torch.device("cpu"))
    return len(state["history"]) if state else 0


def branch(source: Path, target: Path) -> None:
    """Let the trial in the folder `target` stand where the unfinished one in `source` stands; whole or not at all.

    Nothing happens if `target` is there already, or if there is nothing in `source`.
    """
    storage.pull(source, weights=True)
    if target.exists() or not source.exists():
        return
    for left_behind in target.parent.glob(f"_{target.name}.*"):
        shutil.rmtree(left_behind)
    files.copy_folder(source, target, ignore=shutil.ignore_patterns("_*"))
    for path in sorted(target.rglob("*")):
        if path.is_file():
            storage.push(path)
