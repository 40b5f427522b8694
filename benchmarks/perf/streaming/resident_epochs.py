"""A trial from scratch on arrays in memory that waits for a line before each epoch: what `resident` starts twice.

It is run as a script, `python resident_epochs.py ARRAYS FOLDER EPOCHS`, by the code that PYTHONPATH names, and imports
only what older checkouts have too. It prints where that code lies, the seconds of the processor of each epoch but the
first, and at last a hash of the weights.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import torch

import automl_kd
from automl_kd.methods import run_trial
from automl_kd.space import Architecture
from automl_kd.spec import DataSpec, Recipe, TrialPaths, TrialSpec


class Turns:
    """As a report of a trial: waits for the next turn, and says what the one before took."""

    def __init__(self) -> None:
        self.begun = 0.0

    def __call__(self, metrics: Mapping[str, float], *, epoch: int) -> None:  # noqa: ARG002 - a report of a trial
        seconds = time.process_time() - self.begun
        print(Path(automl_kd.__file__).parents[1] if epoch == 1 else seconds, flush=True)
        sys.stdin.readline()
        self.begun = time.process_time()


def main() -> None:
    arrays, folder, epochs = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    spec = TrialSpec(
        space="search_spaces.resnet_depth:SPACE",
        architecture=Architecture.of({"depth1": 1, "depth2": 1, "depth3": 1}),
        method="scratch",
        data=DataSpec(name=f"arrays:{arrays}"),
        teacher=None,
        recipe=Recipe(epochs=epochs, batch_size=64, augment="crop-flip"),
        seed=0,
    )
    run_trial(spec, Turns(), TrialPaths(trial=folder / "trial", teachers=folder, data=folder))
    weights = torch.load(folder / "trial" / "student.pt", weights_only=True)
    content = b"".join(weights[name].numpy().tobytes() for name in sorted(weights))
    print(hashlib.sha256(content).hexdigest(), flush=True)


if __name__ == "__main__":
    main()
