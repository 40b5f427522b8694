"""Images that are held in memory: an epoch of this build beside one of an older checkout, in seconds of the processor.

Run it from the project's root: `python -m benchmarks.perf.streaming.resident OLDER [--epochs 25]`; OLDER is a worktree
of the commit before images could be streamed (`git worktree add OLDER f494a91`).

Each checkout trains a small residual network from scratch in a process of its own, on the same CIFAR-shaped arrays,
cropped and mirrored, and both take turns epoch by epoch, validation included. They must end with equal weights.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.perf.alternation import Comparison, markdown
from benchmarks.perf.streaming.sharing import stream_of

ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("resident_epochs.py")
NEW, OLDER = "new", "older"
LIMIT = 1.02


def write_arrays(path: Path, images: int) -> None:
    """Noise, in ten classes."""
    rng = np.random.default_rng(0)
    parts = {"train": images, "test": max(100, images // 10)}
    drawn = {f"x_{name}": rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8) for name, count in parts.items()}
    np.savez(path, allow_pickle=False, **drawn, **{f"y_{name}": np.arange(count) % 10 for name, count in parts.items()})


class Checkout:
    """The trial of one checkout, which stands before an epoch."""

    def __init__(self, folder: Path, arrays: Path, scratch: Path, epochs: int) -> None:
        environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(SCRIPT), str(arrays), str(scratch), str(epochs)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder, env=environment,
        )  # fmt: skip

    def answer(self) -> str:
        line = stream_of(self.process.stdout).readline().strip()
        if not line:
            raise SystemExit(f"the trial of {self.process.args!r} ended early")
        return line

    def turn(self) -> str:
        pipe = stream_of(self.process.stdin)
        pipe.write("\n")
        pipe.flush()
        return self.answer()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


def compare(older: Path, images: int, epochs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        scratch, arrays = Path(folder), Path(folder) / "arrays.npz"
        write_arrays(arrays, images)
        places = {NEW: ROOT, OLDER: older.absolute()}
        running = {name: Checkout(place, arrays, scratch / name, epochs) for name, place in places.items()}
        try:
            for name, one in running.items():
                if not Path(code := one.answer()).samefile(places[name]):
                    raise SystemExit(f"{places[name]} has no automl_kd, that of {code} was imported; name a worktree")
            spent: dict[str, list[float]] = {name: [] for name in running}
            for number in range(epochs - 1):
                for name in running if number % 2 else reversed(running):
                    spent[name].append(float(running[name].turn()))
            for seconds in spent.values():
                seconds.pop()  # of the last epoch, with the measuring of the latency
            weights = {name: one.turn() for name, one in running.items()}
        finally:
            for one in running.values():
                one.end()
    assert weights[NEW] == weights[OLDER], "the two checkouts train other weights"
    print(f"resident images: {images:,} of 32 pixels, seconds of the processor for an epoch")
    print(markdown(spent, [Comparison(NEW, OLDER, LIMIT)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("older", type=Path, nargs="?", help="a worktree of an older commit")
    parser.add_argument("--images", type=int, default=4000, help="to train on (default: 4000)")
    parser.add_argument(
        "--epochs", type=int, default=25, help="of which the first and the last are not timed (default: 25)"
    )
    options = parser.parse_args()
    if options.older is None:
        print("resident: not measured, as no older checkout was given")
        return
    compare(options.older, options.images, options.epochs)


if __name__ == "__main__":
    main()
