"""Images whose classes are colours, and teachers that were trained on them under a preprocessing of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_kd.data import Dataset, load_data, plain_view
from automl_kd.models import build_model
from automl_kd.models.input_adapter import InputAdapter, adapted
from automl_kd.models.weights.checkpoint import save_weights
from automl_kd.space import InputShape
from automl_kd.spec import DataSpec, Preprocessing, TeacherSpec
from automl_kd.training.trial import teacher_adapter

COLOURS = ((200, 60, 60), (60, 200, 60), (60, 60, 200), (160, 160, 60), (90, 90, 90))
MODEL = "tests.experiment.teacher.coloured:network"


def network(shape: InputShape) -> nn.Module:
    """Small, with normalisations that remember the statistics of training."""
    return nn.Sequential(
        nn.Conv2d(shape.channels, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, shape.classes),
    )


def write_images(folder: Path, count: int = 600) -> DataSpec:
    """Noisy images of 8x8; every fifth one shows another class's colour, so that no teacher is always right."""
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for part, size in (("train", count), ("val", count), ("test", 50)):
        labels = np.arange(size) % len(COLOURS)
        shown = np.where(rng.random(size) < 0.2, rng.integers(0, len(COLOURS), size), labels)
        pixels = np.array(COLOURS)[shown][:, None, None] + rng.normal(0, 40, (size, 8, 8, 3))
        arrays |= {f"x_{part}": pixels.clip(0, 255).astype(np.uint8), f"y_{part}": labels}
    np.savez(folder / "colours.npz", **arrays)  # type: ignore[arg-type]  # its stub takes a flag among them
    return DataSpec(name=f"arrays:{folder / 'colours.npz'}")


def load(folder: Path) -> Dataset:
    return load_data(write_images(folder), folder)


def train_teacher(folder: Path, dataset: Dataset, own: Preprocessing, outputs: tuple[int, ...] = ()) -> TeacherSpec:
    """A teacher that was trained with `own`, and whose output `outputs[c]` is class c; described without either."""
    total = max(outputs) + 1 if outputs else dataset.shape.classes
    shape = InputShape(3, 8, 8, total)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = build_model(MODEL, shape)
    where = torch.tensor(outputs or range(dataset.shape.classes))
    made_of = teacher_adapter(TeacherSpec(model=MODEL, checkpoint="x", preprocessing=own), dataset)
    optimizer = torch.optim.SGD(made.parameters(), lr=0.1, momentum=0.9)
    rows = torch.arange(len(dataset.train))
    with adapted(made, InputAdapter(0, made_of.factor, made_of.shift, made_of.reverse)):
        for step in range(120):
            batch = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(step))][:64]
            loss: Tensor = F.cross_entropy(
                made.train()(plain_view(dataset, dataset.train, batch)), where[dataset.train.labels[batch]]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    file = folder / "teacher.pt"
    save_weights(made, file)
    return TeacherSpec(model=MODEL, checkpoint=str(file), total_classes=total if outputs else 0)
