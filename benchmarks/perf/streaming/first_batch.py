"""How soon the first batch of a large folder is there: ours beside torchvision's, on the first start and on the second.

Run it from the project's root: `python -m benchmarks.perf.streaming.first_batch [FOLDER_OR_PARQUET] [--files 100000]`.

The names of all files are links to a few small JPEGs, in 1,000 class folders. Each start is a process of its own, timed
by the clock from the path of the folder to a batch of 32 random crops of 64 pixels, imports aside: for ours the process
that decodes runs already, as it does for all trials of a search but the first.

- *torchvision*: `ImageFolder` and a `DataLoader` with two workers, which lists the folder on each start.
- *ours*: the folder's index, which the second start finds kept, and a reader with two threads.
- *opened*: the same batch from `load_data`, which on the first start reads the bytes of all files, looks for damaged
  ones, and measures mean and deviation; in the first round alone.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import transforms as tv
from torchvision.datasets import ImageFolder

from automl_kd.data import augmented_view, epoch_order, follow_epochs, load_data
from automl_kd.data.encoded.folder_index import SETTLED_NS, index_folder
from automl_kd.data.stream.plan import ViewPlan
from automl_kd.data.stream.reader import ViewReader
from automl_kd.data.stream.settings import LoaderSettings
from automl_kd.spec import DataSpec, LoaderOptions, Recipe
from benchmarks.perf.alternation import Comparison, markdown
from benchmarks.perf.streaming.pictures import encoded_pictures, link_classes
from benchmarks.perf.streaming.readers import BATCH, make_reader

SIZE, THREADS, ORIGINALS = 64, 2, 20
CROPS = ViewPlan(SIZE, SIZE, "random-resized-crop")
RECIPE = Recipe(batch_size=BATCH, augment="random-resized-crop")
FIRST, SECOND = "first start", "second start"
LIMITS = {FIRST: 1.1, SECOND: 1 / 3}
"""Of our seconds over torchvision's."""


def torchvision_batch(folder: Path, _root: Path) -> Tensor:
    crops = tv.Compose([tv.RandomResizedCrop(SIZE), tv.RandomHorizontalFlip(), tv.ToTensor()])
    loader = DataLoader(ImageFolder(str(folder), crops), BATCH, shuffle=True, num_workers=THREADS, drop_last=True)
    batch: Tensor = next(iter(loader))[0]
    return batch


def our_batch(folder: Path, root: Path) -> Tensor:
    images = index_folder(folder, root).images
    reader = ViewReader(images, np.arange(len(images)), CROPS, LoaderSettings(threads=THREADS))
    with reader:
        reader.follow(order_seed=0, view_seed=0, batch_size=BATCH, steps=len(images) // BATCH)
        return reader.read(epoch_order(len(images), seed=0, epoch=0)[:BATCH], seed=0, epoch=0)


def opened_batch(folder: Path, root: Path) -> Tensor:
    spec = DataSpec(name=f"folder:{folder}", resolution=SIZE, loading="stream")
    dataset = load_data(spec, root, LoaderOptions(threads=THREADS))
    follow_epochs(dataset, RECIPE, len(dataset.train) // BATCH, order_seed=0, view_seed=0)
    rows = epoch_order(len(dataset.train), seed=0, epoch=1)[:BATCH]
    return augmented_view(dataset, dataset.train, rows, RECIPE, seed=0, epoch=1)


WAYS: Mapping[str, Callable[[Path, Path], Tensor]] = {
    "torchvision": torchvision_batch,
    "ours": our_batch,
    "opened": opened_batch,
}


def start(way: str, folder: Path, root: Path) -> None:
    """In a process of its own: print the seconds of the first batch."""
    torch.set_num_threads(1)
    if way != "torchvision":  # whose workers are copies of this process
        originals = sorted(folder.parent.glob(f"{folder.name}-*.jpg"))
        with make_reader((originals * BATCH)[:BATCH], CROPS, threads=THREADS, shared=True) as reader:
            reader.read(torch.arange(BATCH), seed=0, epoch=0)
    begun = time.monotonic()
    batch = WAYS[way](folder, root)
    seconds = time.monotonic() - begun
    assert batch.shape == (BATCH, 3, SIZE, SIZE)
    print(seconds)


def seconds_of_start(way: str, folder: Path, root: Path) -> float:
    command = [sys.executable, "-m", "benchmarks.perf.streaming.first_batch", str(folder), "--start", way]
    with tempfile.TemporaryDirectory() as alone:  # where no trial of others finds its decoding process
        environment = {**os.environ, "TMPDIR": alone}
        command += ["--root", str(root)]
        return float(subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout)


def compare(given: Path | None, files: int, classes: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "images"
        link_classes(folder, encoded_pictures(given, SIZE, count=ORIGINALS), files, classes)
        time.sleep(2 * SETTLED_NS / 1e9)  # an index of folders that have just changed is not kept
        spent: dict[str, dict[str, list[float]]] = {which: {way: [] for way in WAYS} for which in LIMITS}
        for number in range(rounds):
            ways = [*WAYS][: None if number == 0 else 2]
            for way in ways if number % 2 else reversed(ways):
                with tempfile.TemporaryDirectory(dir=scratch) as root:
                    for which, found in spent.items():
                        found[way].append(seconds_of_start(way, folder, Path(root)))
                        print(f"{way}, {which}: {found[way][-1]:.2f} s", flush=True)
    print(f"first batch of {files:,} files")
    for which, found in spent.items():
        print(f"\n{which}\n{markdown(found, [Comparison('ours', 'torchvision', LIMITS[which])])}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "given", type=Path, nargs="?", help="images, which are reduced to 64 pixels (default: drawn ones)"
    )
    parser.add_argument("--files", type=int, default=100_000, help="(default: 100000)")
    parser.add_argument("--classes", type=int, default=1000, help="(default: 1000)")
    parser.add_argument("--rounds", type=int, default=5, help="(default: 5)")
    parser.add_argument("--start", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.start:
        start(options.start, options.given, options.root)
    else:
        compare(options.given, options.files, options.classes, options.rounds)


if __name__ == "__main__":
    main()
