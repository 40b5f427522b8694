"""Residual networks for large images: four stages, at strides 4, 8, 16 and 32, with torchvision's parameter names.

He, Zhang, Ren, Sun. Deep Residual Learning for Image Recognition. 2015. arXiv:1512.03385, table 1: ResNet-18, 34 and 50
are points of it, and take torchvision's weights. As there, the stride of a bottleneck is taken by its 3x3 convolution
(the paper's takes it in the first). The stem "deep" is that of He et al. Bag of Tricks for Image Classification with
Convolutional Neural Networks. 2018. arXiv:1812.01187, figure 2 (ResNet-C); "small", a 3x3 convolution without stride or
pooling as in section 4.2 of the first paper, is for small images: strides are then 1, 2, 4 and 8.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from torch import Tensor, nn

from automl_kd.models.blocks import convolution, initialise
from automl_kd.models.costs.layers import ConvolutionSize, halve, residual_block, sum_costs
from automl_kd.models.features import FeatureLayer
from automl_kd.space import InputShape

STAGE_NAMES = ("layer1", "layer2", "layer3", "layer4")

EXPANSION = {"basic": 1, "bottleneck": 4}
"""Channels of a block's output for each of its width."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions; its output has `width` channels."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = convolution(inputs, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = convolution(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = shortcut_of(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out = out + (x if self.downsample is None else self.downsample(x))
        made: Tensor = self.relu(out)
        return made


class BottleneckBlock(nn.Module):
    """1x1, 3x3 and 1x1 convolutions; its output has 4 `width` channels."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = EXPANSION["bottleneck"] * width
        self.conv1 = convolution(inputs, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = convolution(width, outputs, 1)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut_of(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out = out + (x if self.downsample is None else self.downsample(x))
        made: Tensor = self.relu(out)
        return made


BLOCKS = {"basic": BasicBlock, "bottleneck": BottleneckBlock}


def shortcut_of(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """The shortcut, where it is not the identity."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


def stem_convolution(kind: str, channels: int, width: int) -> nn.Module:
    """The first convolutions: of "7x7" and "deep" they halve images."""
    if kind != "deep":
        return convolution(channels, width, 7, 2) if kind == "7x7" else convolution(channels, width, 3)
    inner = max(8, width // 2)
    return nn.Sequential(
        convolution(channels, inner, 3, 2), nn.BatchNorm2d(inner), nn.ReLU(inplace=True),
        convolution(inner, inner, 3), nn.BatchNorm2d(inner), nn.ReLU(inplace=True),
        convolution(inner, width, 3),
    )  # fmt: skip


class ResNet224(nn.Module):
    """`depths`: blocks of the four stages, at least 1. `widths`: of the four stages' blocks; the stem has the first.

    `block`: "basic", or "bottleneck", whose outputs are four times as wide.
    """

    def __init__(
        self,
        shape: InputShape,
        depths: Sequence[int],
        widths: Sequence[int],
        *,
        block: str = "basic",
        stem: str = "7x7",
    ) -> None:
        super().__init__()
        if len(depths) != len(STAGE_NAMES) or len(widths) != len(STAGE_NAMES) or min(depths) < 1:
            raise ValueError(f"it needs four depths of at least 1 and four widths, got {depths} and {widths}")
        first, channels, expansion = widths[0], shape.channels, EXPANSION[block]
        self.conv1 = stem_convolution(stem, channels, first)
        self.bn1 = nn.BatchNorm2d(first)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if stem == "small" else nn.MaxPool2d(3, 2, padding=1)
        self.feature_layers = {"stem": FeatureLayer("maxpool")}
        steps = pairwise((first, *[expansion * width for width in widths]))
        for number, (name, (inputs, outputs)) in enumerate(zip(STAGE_NAMES, steps, strict=True), start=1):
            width, depth = widths[number - 1], depths[number - 1]
            blocks = [BLOCKS[block](inputs, width, 1 if number == 1 else 2)]
            blocks += [BLOCKS[block](outputs, width, 1) for _ in range(depth - 1)]
            self.add_module(name, nn.Sequential(*blocks))
            self.feature_layers |= {
                f"stage{number}": FeatureLayer(name),
                f"stage{number}.pre": FeatureLayer(f"{name}.{depth - 1}.relu", "input"),
            }
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(expansion * widths[-1], shape.classes)
        self.feature_layers |= {"pre_pool": FeatureLayer("avgpool", "input"), "pooled": FeatureLayer("fc", "input")}
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for name in STAGE_NAMES:
            x = self.get_submodule(name)(x)
        logits: Tensor = self.fc(self.avgpool(x).flatten(1))
        return logits


def resnet224_cost(
    shape: InputShape, depths: Sequence[int], widths: Sequence[int], *, block: str = "basic", stem: str = "7x7"
) -> tuple[int, int]:
    """Parameters, and multiply-adds for one image, of the `ResNet224` of these arguments, without building it."""
    layers = layers_of_resnet224(shape, depths, widths, block, stem)
    return sum_costs(layers, EXPANSION[block] * widths[-1], shape.classes)


def layers_of_resnet224(
    shape: InputShape, depths: Sequence[int], widths: Sequence[int], block: str, stem: str
) -> Iterator[ConvolutionSize]:
    height, width = shape.height, shape.width
    if stem != "small":
        height, width = halve(height), halve(width)
    yield from layers_of_stem(shape.channels, widths[0], stem, height * width)
    if stem != "small":
        height, width = halve(height), halve(width)
    before = widths[0]
    for stage, (depth, inner) in enumerate(zip(depths, widths, strict=True)):
        outputs = EXPANSION[block] * inner
        for inputs, halves in [(before, stage > 0), *[(outputs, False)] * (depth - 1)]:
            entering = height * width
            if halves:
                height, width = halve(height), halve(width)
            pixels = height * width
            yield from residual_block(block, inputs, inner, outputs, entering, pixels)
            if halves or inputs != outputs:
                yield ConvolutionSize(inputs, outputs, 1, pixels)
        before = outputs


def layers_of_stem(channels: int, width: int, stem: str, pixels: int) -> Iterator[ConvolutionSize]:
    if stem != "deep":
        yield ConvolutionSize(channels, width, 7 if stem == "7x7" else 3, pixels)
        return
    inner = max(8, width // 2)
    yield ConvolutionSize(channels, inner, 3, pixels)
    yield ConvolutionSize(inner, inner, 3, pixels)
    yield ConvolutionSize(inner, width, 3, pixels)
