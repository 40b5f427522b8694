"""What programs give as objects: a network, a space and images, small enough to be trained in a second."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from automl_kd.space import Choice, InputShape, Parameter, SearchSpace, Values
from tests import tiny

SCALE = 1.0


def helper() -> float:
    return SCALE


def build(values: Values, shape: InputShape) -> nn.Module:
    helper()
    return tiny.Net(shape, int(values["width"]))


def student(shape: InputShape) -> nn.Module:
    return tiny.Net(shape, 4)


SPACE = SearchSpace(
    name="two widths",
    source="these tests",
    parameters={"width": Parameter(Choice((3, 4)))},
    build=build,
    default={"width": 4},
)


def arrays() -> dict[str, np.ndarray]:
    train, test = tiny.stripes(60, seed=0), tiny.stripes(30, seed=2)
    return {
        "x_train": train.inputs[:, 0].numpy(),
        "y_train": train.labels.numpy(),
        "x_test": test.inputs[:, 0].numpy(),
        "y_test": test.labels.numpy(),
    }


class Stripes(Dataset[tuple[torch.Tensor, int]]):
    """The same images one by one, as tensors with their channel first."""

    def __init__(self, count: int = 60, seed: int = 0) -> None:
        self.split = tiny.stripes(count, seed=seed)

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        return self.split.inputs[place], int(self.split.labels[place])


def teacher() -> Any:
    torch.manual_seed(3)
    return tiny.Net(tiny.SHAPE, 8)
