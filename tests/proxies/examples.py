"""Small real networks, probes and proxies that several tests share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from automl_kd.models import build_model
from automl_kd.proxies.base import ProxyEntry
from automl_kd.proxies.probe import Probe, make_probe
from automl_kd.space import Choice, InputShape, Parameter, SearchSpace, Values

GREY = InputShape(channels=1, height=8, width=8, classes=10)
COLOUR = InputShape(channels=3, height=32, width=32, classes=10)


def example_probe(
    shape: InputShape = GREY, *, batch: int = 6, seed: int = 0, teacher: str | None = "resnet14"
) -> Probe:
    """Noise images with a random teacher; different seeds give different images and weights."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(batch, shape.channels, shape.height, shape.width, generator=generator)
    labels = torch.randint(shape.classes, (batch,), generator=generator)
    network = None if teacher is None else build_model(teacher, shape)
    return make_probe(images, labels, shape, network, seed=seed)


def vectors(*rows: list[float], labels: list[int], classes: int = 2) -> Probe:
    """A probe of images one pixel high."""
    images = torch.tensor(rows, dtype=torch.float32)[:, None, None, :]
    return Probe(images, torch.tensor(labels), InputShape(1, 1, images.shape[3], classes))


def linear(*rows: list[float]) -> nn.Linear:
    """A linear layer of these weights, without bias."""
    weight = torch.tensor(rows, dtype=torch.float32)
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight.data = weight
    return layer


class Wide(nn.Module):
    """A linear classifier with `width` hidden units; not a number where `width` is 3."""

    def __init__(self, width: int, shape: InputShape) -> None:
        super().__init__()
        self.width = width
        pixels = shape.channels * shape.height * shape.width
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(pixels, width), nn.ReLU(), nn.Linear(width, shape.classes))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.body(x)
        return logits


def build_wide(values: Values, shape: InputShape) -> nn.Module:
    return Wide(int(values["width"]), shape)


WIDTHS = SearchSpace(
    name="widths",
    source="made up",
    parameters={"width": Parameter(Choice((1, 2, 3, 4)))},
    build=build_wide,
    default={"width": 1},
)


def noisy(student: nn.Module, _probe: Probe) -> float:
    """The width plus a random number from torch's global generator."""
    assert isinstance(student, Wide)
    return student.width + float(torch.rand(()))


def fragile(student: nn.Module, _probe: Probe) -> float:
    """The width, but it fails in one way at 3 and in another at 4."""
    assert isinstance(student, Wide)
    if student.width == 3:
        raise RuntimeError("three is too many")
    return float("-inf") if student.width == 4 else float(student.width)


NOISY = ProxyEntry(proxy=noisy, source="made up")
FRAGILE = ProxyEntry(proxy=fragile, source="made up")
