"""What is searched while it is killed: students of one convolution on small striped images, taught in a second."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from automl_kd.data import Source, in_memory
from automl_kd.space import Choice, InputShape, IntRange, Parameter, SearchSpace, Values
from automl_kd.spec import Report, TrialPaths, TrialSpec
from automl_kd.training import loop

# Every epoch leaves a checkpoint, so that a kill may hit one and a trial has something to continue from.
loop.SAVE_SECONDS = 0.0

CLASSES = 3


def network(channels: int, width: int, depth: int, classes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for position in range(depth):
        before = channels if position == 0 else width
        layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(width, classes))


def build(values: Values, shape: InputShape) -> nn.Module:
    return network(shape.channels, int(values["width"]), int(values["depth"]), shape.classes)


def teacher(shape: InputShape) -> nn.Module:
    return network(shape.channels, 12, 1, shape.classes)


SPACE = SearchSpace(
    name="striped",
    source="ours",
    parameters={"width": Parameter(IntRange(6, 15)), "depth": Parameter(Choice((1, 2)))},
    build=build,
    default={"width": 8, "depth": 1},
)


def stripes(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images whose class is the brightness of their upper half, under noise that a few epochs do not see through."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    images = torch.randint(0, 200, (count, 1, 8, 8), generator=generator)
    images[:, :, :4] += 20 * labels[:, None, None, None]
    return images.to(torch.uint8), labels


def images(_root: Path) -> Source:
    """600 images for training and validation, 150 for test."""
    return Source(
        train=in_memory(*stripes(600, 0)),
        test=in_memory(*stripes(150, 1)),
        class_names=("dark", "middle", "bright"),
        augment="crop",
    )


@dataclass(frozen=True)
class Nap:
    """A trial that sleeps through its epochs, and continues where it was killed."""

    needs_teacher: ClassVar[bool] = False
    seconds: float = 0.2

    def macs(self, student: int, teacher: int) -> int:
        return 3 * student

    def __call__(self, spec: TrialSpec, report: Report, paths: TrialPaths) -> None:
        paths.trial.mkdir(parents=True, exist_ok=True)
        with (paths.trial / "attempts").open("a", encoding="utf-8") as file:
            file.write("once more\n")
        for epoch in range(1, spec.recipe.epochs + 1):
            slept = paths.trial / f"epoch{epoch}"
            if not slept.exists():
                time.sleep(self.seconds)
                slept.touch()
            report({"val_accuracy": spec.seed / 1000 * epoch / spec.recipe.epochs, "seconds": 1.0 * epoch}, epoch=epoch)
