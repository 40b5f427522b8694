"""The state of an unfinished trial on disk: written beside and renamed, so that it is whole or absent."""

from __future__ import annotations

import pickle
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from automl_kd import distributed, files, storage
from automl_kd.errors import CheckpointError

OPTIMIZER, LOSS_MODULES = "optimiser", "adapters"
"""Under these keys checkpoints hold the states of optimizers and of loss modules, since their first version."""

TRAINING_FILE, SEARCH_FILE = CHECKPOINTS = "checkpoint.pt", "search.pt"
"""Of a training, and of a search inside a method before it; below a trial's folder."""

State = dict[str, Any]

LOOK_STEPS = 100
"""The most steps between two looks at the clock: each may wait for the main process, and that one for its device."""


class Checkpoints:
    """The checkpoints of one trial: `state` is saved in the file at `path`, inside epochs every so many `minutes`.

    `minutes` >= 0; 0 saves nothing inside epochs. The main process's clock counts, and all save after the same step.
    """

    def __init__(self, path: Path, state: Callable[[], State], minutes: float) -> None:
        self.path, self.state, self.minutes = path, state, minutes
        self.saved = self.looked = time.monotonic()
        self.steps, self.look_after = 0, 1

    def save(self) -> None:
        """In a process group all must call it, and the main process writes."""
        save(self.state(), self.path)
        self.saved = time.monotonic()

    def seconds_unsaved(self) -> float:
        """Since the last checkpoint, or since this session began; in a process group all must ask."""
        return distributed.from_main_process(time.monotonic() - self.saved)

    def due_after_step(self) -> bool:
        """Whether another step would end too late for the next checkpoint. All ask after each step.

        Most calls only count. The others look at the clock, and all learn when the main process will look again: after
        as many steps as fit before the checkpoint at the pace of late, `LOOK_STEPS` at most.
        """
        self.steps += 1
        if not self.minutes or self.steps < self.look_after:
            return False
        now = time.monotonic()
        left, pace = 60 * self.minutes - (now - self.saved), (now - self.looked) / self.steps
        fitting = min(left / max(pace, 1e-9), LOOK_STEPS) if left > 0 else 0.0
        fitting = int(distributed.from_main_process(fitting))
        self.looked, self.steps, self.look_after = now, 0, max(fitting, 1)
        return fitting < 1


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
