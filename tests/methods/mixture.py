"""Ten Gaussian clouds in twenty dimensions as images of 4x5 pixels, a student, a good teacher and one partly wrong."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_kd.data import Dataset, Split
from automl_kd.data.dataset import mean_and_std
from automl_kd.models.weights.checkpoint import save_weights
from automl_kd.space import Choice, InputShape, Parameter, SearchSpace, Values
from automl_kd.spec import DataSpec, TeacherSpec, TrialPaths, teacher_trial

SHAPE = InputShape(channels=1, height=4, width=5, classes=10)
DATA = DataSpec(name="mixture")
TEACHER = TeacherSpec(model="tests.methods.mixture:teacher")
SPREAD = 0.66


def perceptron(width: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(20, width), nn.ReLU(), nn.Linear(width, SHAPE.classes))


def build(values: Values, shape: InputShape) -> nn.Module:
    return perceptron(int(values["width"]))


def teacher(shape: InputShape) -> nn.Module:
    return perceptron(128)


SPACE = SearchSpace(
    name="mixture",
    source="these tests",
    parameters={"width": Parameter(Choice((6, 12)))},
    build=build,
    default={"width": 12},
    describe=lambda values: f"width {values['width']}",
)


def dataset(seed: int) -> Dataset:
    """1300 points to train on, 100 for validation, 5000 to test."""
    generator = torch.Generator().manual_seed(seed)
    means = SPREAD * torch.randn(10, 20, generator=generator)
    train, validation, test = (points(count, means, generator) for count in (1300, 100, 5000))
    mean, std = mean_and_std(train.inputs)
    names = tuple(str(label) for label in range(10))
    return Dataset("mixture", SHAPE, train, validation, test, mean, std, "none", 0, names)


def points(count: int, means: Tensor, generator: torch.Generator) -> Split:
    labels = torch.arange(count) % 10
    x = means[labels] + torch.randn(count, 20, generator=generator)
    images = (128 + 25 * x).round().clamp(0, 255).to(torch.uint8)
    return Split(images.view(count, 1, 4, 5), labels, torch.arange(count))


def train_teacher(data: Dataset, *, seed: int) -> nn.Module:
    """A wide network on the training images, decayed strongly enough to be better than the student can be alone."""
    torch.manual_seed(seed)
    model, rows = teacher(SHAPE), data.train
    pixels = (rows.inputs.float() / 255 - data.mean[0]) / data.std[0]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=2e-2)
    for step in range(400):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 400)
        chosen = torch.randint(len(rows), (128,))
        loss = F.cross_entropy(model(pixels[chosen]), rows.labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def misled(model: nn.Module) -> nn.Module:
    """The same network with its answers for three of ten classes cyclically exchanged."""
    last = list(model.modules())[-1]
    assert isinstance(last, nn.Linear)
    order = torch.tensor([1, 2, 0, 3, 4, 5, 6, 7, 8, 9])
    with torch.no_grad():
        last.weight.copy_(last.weight[order])
        last.bias.copy_(last.bias[order])
    return model


def place(root: Path, trial: str, taught_by: nn.Module) -> TrialPaths:
    where = TrialPaths(trial=root / trial, teachers=root / "teachers", data=root)
    save_weights(taught_by, where.teachers / teacher_trial(TEACHER, DATA).key / "student.pt")
    return where
