"""The smallest things that are real enough: a two-layer network, 8x8 images, six points, pretended training."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from automl_kd.data import Dataset, Split
from automl_kd.models.taps import Tap
from automl_kd.space import Choice, Parameter, SearchSpace, TaskShape, Values
from automl_kd.spec import Place, Report, TrialSpec

SHAPE = TaskShape(channels=1, height=8, width=8, classes=3)


class Net(nn.Module):
    """Convolution, batch norm, dropout, classifier: one of each kind of layer that a resumed run could get wrong."""

    def __init__(self, shape: TaskShape, width: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(shape.channels, width, 3, padding=1, bias=False)
        self.norm, self.relu = nn.BatchNorm2d(width), nn.ReLU()
        self.pool, self.dropout = nn.AdaptiveAvgPool2d(1), nn.Dropout(0.1)
        self.classifier = nn.Linear(width, shape.classes)
        self.taps = {"pre_pool": Tap("relu"), "pooled": Tap("classifier", "input")}

    def forward(self, images: Tensor) -> Tensor:
        maps = self.relu(self.norm(self.stem(images)))
        out: Tensor = self.classifier(self.dropout(self.pool(maps).flatten(1)))
        return out


def build(values: Values, shape: TaskShape) -> nn.Module:
    return Net(shape, int(values["width"]))


def teacher(shape: TaskShape) -> nn.Module:
    return Net(shape, 16)


SPACE = SearchSpace(
    name="tiny",
    source="these tests",
    parameters={"width": Parameter(Choice((2, 3, 4, 6, 8, 12)))},
    build=build,
    default={"width": 4},
    describe=lambda values: f"width {values['width']}",
)


def stripes(count: int, *, seed: int) -> Split:
    """Images whose class is the brightness of their upper half, with noise: learnt in a few steps, not at once."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % SHAPE.classes
    images = torch.randint(0, 120, (count, 1, 8, 8), generator=generator)
    images[:, :, :4] += 60 * labels[:, None, None, None]
    return Split(images.to(torch.uint8), labels, torch.arange(count))


def dataset() -> Dataset:
    return Dataset(
        name="stripes",
        shape=SHAPE,
        train=stripes(96, seed=0),
        validation=stripes(30, seed=1),
        test=stripes(30, seed=2),
        mean=(0.4,),
        std=(0.3,),
        augment="crop",
        pad=1,
        class_names=("dark", "middle", "bright"),
    )


@dataclass(frozen=True)
class Pretend:
    """A method that trains nothing: accuracy rises with the epoch towards a value that the width decides.

    Each epoch leaves a line in `trial/epochs`. `fail`: raise in trials of this width. `die`: kill the process in the
    second epoch of a trial of this width, the first time.
    """

    taught: ClassVar[bool] = False
    seconds: float = 0.0
    fail: int = 0
    die: int = 0

    def macs(self, student: int, teacher: int) -> int:
        return 3 * student

    def __call__(self, spec: TrialSpec, report: Report, place: Place) -> None:
        width = int(spec.architecture.as_dict()["width"])
        place.trial.mkdir(parents=True, exist_ok=True)
        for epoch in range(1, spec.recipe.epochs + 1):
            with (place.trial / "epochs").open("a", encoding="utf-8") as file:
                file.write(f"{epoch}\n")
            if width == self.fail:
                raise RuntimeError("this width never works")
            if width == self.die and epoch == 2 and not (place.trial / "died").exists():
                (place.trial / "died").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(self.seconds)
            report(pretended(width, epoch, spec.recipe.epochs), epoch=epoch)


def pretended(width: int, epoch: int, epochs: int) -> Mapping[str, float]:
    accuracy = (0.5 + width / 30) * epoch / epochs
    done = {"test_accuracy": accuracy - 0.01} if epoch == epochs else {}
    return {"val_accuracy": accuracy, "params": 10 * width, "seconds": float(epoch), "train_macs": 1.0 * epoch, **done}


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())
