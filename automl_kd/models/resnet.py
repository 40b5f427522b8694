"""Residual networks for small images: a 3x3 stem and a few stages, each but the first at half the resolution.

He, Zhang, Ren, Sun. Deep Residual Learning for Image Recognition. 2015. arXiv:1512.03385, section 4.2. There every
shortcut is the identity, padded with zeros where the width grows (option A); here, as in the published code of most
distillation papers, such a shortcut is a 1x1 convolution with batch normalisation (option B). The "x4" networks are
those papers' wider variants.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from automl_kd.models.blocks import convolution, global_pool, initialise
from automl_kd.models.costs.layers import ConvolutionSize, halve, residual_block, sum_costs
from automl_kd.models.features import FeatureLayer
from automl_kd.space import InputShape

BlockKind = Literal["basic", "bottleneck"]

NARROW, WIDE = (16, 16, 32, 64), (32, 64, 128, 256)

RESNETS: Mapping[str, tuple[int, Sequence[int]]] = {
    "resnet8": (1, NARROW),
    "resnet14": (2, NARROW),
    "resnet20": (3, NARROW),
    "resnet32": (5, NARROW),
    "resnet44": (7, NARROW),
    "resnet56": (9, NARROW),
    "resnet110": (18, NARROW),
    "resnet8x4": (1, WIDE),
    "resnet32x4": (5, WIDE),
}
"""Name: blocks in each of three stages; widths of the stem and the stages."""


class Residual(nn.Module):
    """Activation of (body + shortcut): the identity, or a projection where the shape changes."""

    def __init__(self, body: nn.Sequential, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = body
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(self.body(x) + self.shortcut(x))
        return out


def basic(inputs: int, outputs: int, stride: int) -> Residual:
    """Two 3x3 convolutions (figure 5, left)."""
    body = nn.Sequential(
        convolution(inputs, outputs, 3, stride),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        convolution(outputs, outputs, 3),
        nn.BatchNorm2d(outputs),
    )
    return Residual(body, inputs, outputs, stride)


def bottleneck(inputs: int, outputs: int, stride: int, reduction: int) -> Residual:
    """1x1, 3x3 and 1x1 convolutions, the inner two `outputs / reduction` wide (figure 5, right).

    The stride is taken by the 3x3 convolution, as in torchvision; the paper's takes it in the first.
    """
    inner = outputs // reduction
    body = nn.Sequential(
        convolution(inputs, inner, 1),
        nn.BatchNorm2d(inner),
        nn.ReLU(),
        convolution(inner, inner, 3, stride),
        nn.BatchNorm2d(inner),
        nn.ReLU(),
        convolution(inner, outputs, 1),
        nn.BatchNorm2d(outputs),
    )
    return Residual(body, inputs, outputs, stride)


class ResNet(nn.Module):
    """`depths`: blocks of each stage, at least 1. `widths`: channels of the stem and of each stage's output.

    `reduction`: how much narrower a bottleneck is inside; it must divide the stages' widths.
    """

    def __init__(
        self,
        shape: InputShape,
        depths: Sequence[int],
        widths: Sequence[int],
        *,
        block: BlockKind = "basic",
        reduction: int = 4,
    ) -> None:
        super().__init__()
        if len(widths) != len(depths) + 1 or min(depths) < 1:
            raise ValueError(
                f"a residual network needs depths of at least 1 and one more width than depths, got {depths}, {widths}"
            )
        self.stem = nn.Sequential(convolution(shape.channels, widths[0], 3), nn.BatchNorm2d(widths[0]), nn.ReLU())
        self.stages = [f"stage{number}" for number in range(1, len(depths) + 1)]
        make = basic if block == "basic" else partial(bottleneck, reduction=reduction)
        for name, depth, (inputs, outputs) in zip(self.stages, depths, pairwise(widths), strict=True):
            first = make(inputs, outputs, 1 if name == "stage1" else 2)
            rest = [make(outputs, outputs, 1) for _ in range(depth - 1)]
            self.add_module(name, nn.Sequential(first, *rest))
        self.pool = global_pool()
        self.fc = nn.Linear(widths[-1], shape.classes)
        self.feature_layers = {
            "stem": FeatureLayer("stem"),
            "pre_pool": FeatureLayer("pool", "input"),
            "pooled": FeatureLayer("pool"),
        }
        for name, depth in zip(self.stages, depths, strict=True):
            self.feature_layers |= {
                name: FeatureLayer(name),
                f"{name}.pre": FeatureLayer(f"{name}.{depth - 1}.relu", "input"),
            }
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for name in self.stages:
            x = self.get_submodule(name)(x)
        logits: Tensor = self.fc(self.pool(x))
        return logits


def resnet_cost(
    shape: InputShape, depths: Sequence[int], widths: Sequence[int], *, block: BlockKind = "basic", reduction: int = 4
) -> tuple[int, int]:
    """Parameters, and multiply-adds for one image, of the `ResNet` of these arguments, without building it."""
    return sum_costs(layers_of_resnet(shape, depths, widths, block, reduction), widths[-1], shape.classes)


def layers_of_resnet(
    shape: InputShape, depths: Sequence[int], widths: Sequence[int], block: BlockKind, reduction: int
) -> Iterator[ConvolutionSize]:
    """Those of a `ResNet`, as `basic`, `bottleneck` and `Residual` lay them out."""
    height, width = shape.height, shape.width
    yield ConvolutionSize(shape.channels, widths[0], 3, height * width)
    for stage, (depth, (before, outputs)) in enumerate(zip(depths, pairwise(widths), strict=True)):
        for inputs, halves in [(before, stage > 0), *[(outputs, False)] * (depth - 1)]:
            entering = height * width
            if halves:
                height, width = halve(height), halve(width)
            pixels = height * width
            yield from residual_block(block, inputs, outputs // reduction, outputs, entering, pixels)
            if halves or inputs != outputs:
                yield ConvolutionSize(inputs, outputs, 1, pixels)


def zoo_resnet(name: str, shape: InputShape) -> ResNet:
    """The network called `name` in `RESNETS`."""
    depth, widths = RESNETS[name]
    return ResNet(shape, [depth] * 3, widths)
