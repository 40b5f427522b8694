"""Training batches of streamed images, by their digests: what sources, loaders, trials and workers must agree on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from automl_kd import distributed
from automl_kd.data import Batch, epoch_rows, load_data
from automl_kd.spec import DataSpec, LoaderOptions, Recipe
from automl_kd.training.training_run import TrainingRun
from tests import tiny
from tests.data.encoded import forms
from tests.process_group import process_group

RECIPE = Recipe(
    epochs=2,
    batch_size=16,
    augment="random-resized-crop",
    policy="rand",
    erasing=0.5,
    mixup=0.5,
    cutmix=1.0,
)
REPEATED = Recipe(epochs=2, batch_size=16, augment="random-resized-crop", repeats=2, mixup=0.5, jitter=0.4)
SIZE = 12


def photographs(count: int = 5) -> forms.Samples:
    """JPEGs of several sizes; 50 to train on with `count` 5, of which the last two are no whole batch."""
    sizes = iter(np.random.default_rng(5).integers(14, 40, (10_000, 2)).tolist())
    return {
        part: [
            (f"{label}-{number:03d}", label, forms.picture(height, width, "JPEG"))
            for label in range(len(forms.CLASSES))
            for number, (height, width) in zip(range(count * several), sizes, strict=False)
        ]
        for part, several in forms.PARTS.items()
    }


def pixmaps() -> forms.Samples:
    """Images of one size whose files begin as those do that a set of arrays is streamed from."""
    rng = np.random.default_rng(6)
    return {
        part: [
            (f"{label}-{number:03d}", label, b"P6 15 14 255\n" + rng.bytes(14 * 15 * 3))
            for label in range(len(forms.CLASSES))
            for number in range(5 * several)
        ]
        for part, several in forms.PARTS.items()
    }


def spec_of(name: str) -> DataSpec:
    return DataSpec(name=name, resolution=SIZE, loading="stream")


def run_of(name: str, root: Path, recipe: Recipe = RECIPE, **loader: Any) -> TrainingRun:
    dataset = load_data(spec_of(name), root, LoaderOptions(**loader))
    return TrainingRun(tiny.Net(dataset.shape, 4), dataset, recipe, seed=3)


def batches(run: TrainingRun) -> Iterator[Batch]:
    """All that the run will train on; in a process group this process's part."""
    recipe = run.recipe
    for epoch in range(1, recipe.epochs + 1):
        rows = epoch_rows(len(run.dataset.train), recipe, seed=run.order_seed, epoch=epoch)
        for step in range(run.steps):
            chosen = rows[step * recipe.batch_size : (step + 1) * recipe.batch_size]
            with distributed.shard_rows(chosen, recipe.grad_accumulation) as own:
                yield run.batch(own, epoch, step)


def contents(batch: Batch) -> dict[str, Tensor]:
    """Everything of a batch but which part of one it is."""
    tensors = {"inputs": batch.inputs, "labels": batch.labels, "index": batch.index}
    if batch.second_labels is not None:
        tensors["second_labels"] = batch.second_labels
    return {**tensors, "share": torch.full((len(batch),), batch.share, dtype=torch.float64)}


def digest(batch: Batch) -> str:
    whole = hashlib.sha256()
    for name, tensor in contents(batch).items():
        whole.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return whole.hexdigest()[:16]


def digests(run: TrainingRun) -> list[str]:
    return [digest(batch) for batch in batches(run)]


def worker(rank: int, name: str, root: Path, workers: int) -> None:
    torch.set_num_threads(1)
    with process_group(root, rank, workers):
        for which, recipe in (("plain", RECIPE), ("repeated", REPEATED)):
            parts = [contents(batch) for batch in batches(run_of(name, root, recipe))]
            torch.save(parts, root / f"{which} {rank}.pt")


def parts_of_workers(name: str, root: Path, workers: int) -> None:
    """The parts of all batches that each worker has, in files of `root`."""
    spawn(worker, args=(name, root, workers), nprocs=workers)
