"""Images per second of processor time by our reader and by torchvision's and timm's loaders.

Run it from the project's root with a folder of images, or with a Parquet file whose column `jpeg` holds images, which
are written to files, each under several names: `python -m benchmarks.perf.streaming.loader FOLDER_OR_PARQUET`.

Each loader ends in a normalised float batch. Time is user and system of all its processes: the training process, the
workers of a `DataLoader`, the helper that decodes.

- *crops*: random resized crops of 224 pixels, mirrored, bilinear, by one reader with a helper of one thread; by
  torchvision's `ImageFolder` and `DataLoader` with one and with two workers; by timm's loader with one.
- *middles*: 128 pixels out of the middle of the image whose shorter side is 146, exact and by scaled decoding.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import transforms as tv
from torchvision.datasets import ImageFolder

from automl_kd.data.fit import Fit
from automl_kd.data.stream.client import HelperSource
from automl_kd.data.stream.decoder import DecodeMode
from automl_kd.data.stream.plan import ViewPlan
from automl_kd.data.stream.reader import ViewReader
from benchmarks.perf.alternation import Comparison, markdown, quartiles
from benchmarks.perf.streaming.processes import seconds_of
from benchmarks.perf.streaming.readers import BATCH, CROPS, batches_of, make_reader

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MIDDLES = ViewPlan.middle((128, 128), Fit(128, 128 / 146))
OURS, SCALED, ONE, TWO, TIMM = (
    "ours",
    "ours, scaled",
    "torchvision, 1 worker",
    "torchvision, 2 workers",
    "timm, 1 worker",
)


@dataclass(frozen=True, eq=False)
class Arm:
    """`batch()`: the next one; `processes()`: that work for it beside this one, by number."""

    batch: Callable[[], Tensor]
    processes: Callable[[], list[int]]


def our_arm(reader: ViewReader) -> Arm:
    moments = zip(MEAN, STD, strict=True)
    numbers = torch.tensor([(1 / (255 * std), mean / std) for mean, std in moments])
    factor, shift = numbers.view(1, 3, 2, 1, 1).unbind(2)
    batches = batches_of(reader)

    def helper() -> list[int]:
        return [reader.source.process] if isinstance(reader.source, HelperSource) else []

    return Arm(lambda: torch.mul(next(batches), factor).sub_(shift), helper)


def their_arm(loader: Any) -> Arm:
    before = {child.pid for child in multiprocessing.active_children()}
    batches = (batch for _ in iter(int, 1) for batch, _ in loader)
    next(batches)
    workers = [child.pid for child in multiprocessing.active_children() if child.pid and child.pid not in before]
    return Arm(lambda: next(batches), lambda: workers)


def torchvision_arm(folder: Path, geometry: list[Any], workers: int) -> Arm:
    transform = tv.Compose([*geometry, tv.ToTensor(), tv.Normalize(MEAN, STD)])
    images = ImageFolder(str(folder), transform)
    return their_arm(
        DataLoader(images, BATCH, shuffle=True, num_workers=workers, persistent_workers=True, drop_last=True)
    )


def timm_arm(folder: Path) -> Arm:
    from timm.data import create_loader  # noqa: PLC0415  # an optional extra

    return their_arm(
        create_loader(
            ImageFolder(str(folder)), 224, BATCH, is_training=True, use_prefetcher=False, scale=CROPS.scale,
            ratio=CROPS.ratio, hflip=0.5, interpolation="bilinear", num_workers=1, persistent_workers=True,
            mean=MEAN, std=STD, color_jitter=0.0,
        )
    )  # fmt: skip


def measure(arms: dict[str, Arm], *, rounds: int, batches: int) -> dict[str, list[float]]:
    """Seconds of `batches` batches of each arm in each round; what its workers do between its turns is its own."""
    spent: dict[str, list[float]] = {name: [] for name in arms}
    reached: dict[str, float] = {}
    for number in range(rounds + 1):
        for name in list(arms) if number % 2 else reversed(list(arms)):
            begun = time.process_time()
            for _ in range(batches):
                batch = arms[name].batch()
                assert batch.dtype == torch.float32
            here = time.process_time() - begun
            elsewhere = sum(map(seconds_of, arms[name].processes()))
            if number:  # the first round fills what is read ahead
                spent[name].append(here + elsewhere - reached[name])
            reached[name] = elsewhere
    return spent


def report(title: str, spent: dict[str, list[float]], images: int, limits: list[Comparison]) -> None:
    """`limits`: of our time over theirs, the inverse of images per second."""
    print(f"\n{title}")
    for name, seconds in spent.items():
        low, middle, high = quartiles([images / one for one in seconds])
        print(f"{name}: {middle:.0f} images per second of processor time ({low:.0f} to {high:.0f})")
    print(markdown(spent, [one for one in limits if one.over in spent]))


def compare_crops(folder: Path, files: list[Path], *, rounds: int, batches: int) -> None:
    geometry = [tv.RandomResizedCrop(224), tv.RandomHorizontalFlip()]
    with make_reader(files, CROPS) as reader:
        arms = {OURS: our_arm(reader)}
        arms |= {name: torchvision_arm(folder, geometry, workers) for name, workers in ((ONE, 1), (TWO, 2))}
        if importlib.util.find_spec("timm"):
            arms[TIMM] = timm_arm(folder)
        spent = measure(arms, rounds=rounds, batches=batches)
    comparisons = [Comparison(OURS, other, 0.8) for other in (ONE, TWO, TIMM)]
    report("random resized crops of 224 pixels", spent, batches * BATCH, comparisons)


def compare_middles(folder: Path, files: list[Path], *, rounds: int, batches: int) -> None:
    geometry = [tv.Resize(146), tv.CenterCrop(128)]
    with ExitStack() as held:
        modes: dict[str, DecodeMode] = {OURS: "exact", SCALED: "scaled"}
        arms = {name: our_arm(held.enter_context(make_reader(files, MIDDLES, mode))) for name, mode in modes.items()}
        arms[ONE] = torchvision_arm(folder, geometry, 1)
        spent = measure(arms, rounds=rounds, batches=batches)
    comparisons = [Comparison(OURS, ONE, 1 / 1.2), Comparison(SCALED, ONE, 1 / 1.6)]
    report("middles of 128 pixels", spent, batches * BATCH, comparisons)


def write_images(parquet: Path, folder: Path, repeat: int) -> None:
    """The images of a Parquet file, each under `repeat` names, as one class."""
    (folder / "images").mkdir()
    for number, content in enumerate(pd.read_parquet(parquet, columns=["jpeg"])["jpeg"]):
        for copy in range(repeat):
            (folder / "images" / f"{number}-{copy}.jpg").write_bytes(content)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "images", type=Path, nargs="?", help="a folder with a subfolder of images for each class, or a Parquet file"
    )
    parser.add_argument("--rounds", type=int, default=7, help="(default: 7)")
    parser.add_argument("--batches", type=int, default=20, help=f"of {BATCH}, in a round (default: 20)")
    parser.add_argument("--repeat", type=int, default=5, help="names for each image of a Parquet file (default: 5)")
    arguments = parser.parse_args()
    if arguments.images is None:
        print("loader: not measured, as no images were given")
        return
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.images
        if folder.is_file():
            write_images(folder, Path(scratch), arguments.repeat)
            folder = Path(scratch)
        files = sorted(path.absolute() for path in folder.rglob("*") if path.is_file())
        compare_crops(folder, files, rounds=arguments.rounds, batches=arguments.batches)
        compare_middles(folder, files, rounds=arguments.rounds, batches=arguments.batches)


if __name__ == "__main__":
    main()
