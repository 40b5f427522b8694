"""Networks of inverted residuals with linear bottlenecks: MobileNetV2, MobileNetV3, and what searches found near them.

Sandler, Howard, Zhu, Zhmoginov, Chen. MobileNetV2: Inverted Residuals and Linear Bottlenecks. 2018. arXiv:1801.04381,
table 2. Howard et al. Searching for MobileNetV3. 2019. arXiv:1905.02244, table 1, with squeeze-and-excitation (Hu,
Shen, Sun. 2017. arXiv:1709.01507) after the depthwise convolution. Published networks differ in which blocks have what;
here each block says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from automl_kd.models.blocks import initialise
from automl_kd.models.costs.layers import ConvolutionSize, halve, sum_costs
from automl_kd.models.features import FeatureLayer
from automl_kd.space import InputShape

ACTIVATIONS = {"relu": nn.ReLU, "relu6": nn.ReLU6, "hardswish": nn.Hardswish, "silu": nn.SiLU}

STAGE_STRIDES = {4: "stage1", 8: "stage2", 16: "stage3", 32: "stage4"}
"""The feature layer that is the last map of each stride."""


class BlockSize(NamedTuple):
    """An inverted residual: `inner` channels between the 1x1 convolutions, of which the first is left out where `inner`
    is what comes in; `squeeze` channels inside the squeeze-and-excitation, 0 for none.
    """

    outputs: int
    inner: int
    kernel: int = 3
    stride: int = 1
    squeeze: int = 0
    activation: str = "relu6"


@dataclass(frozen=True)
class MobilePlan:
    """`stem`: channels of the first convolution. `head`: of the last one. `mix`: of a linear layer between pooling and
    classifier, 0 for none. `percent`: of the images' height and width, at which the network works.
    """

    stem: int
    blocks: tuple[BlockSize, ...]
    head: int
    mix: int = 0
    mix_bias: bool = True
    stem_activation: str = "relu6"
    head_activation: str = "relu6"
    percent: int = 100


def divisible(width: float, by: int = 8) -> int:
    """The multiple of `by` nearest to `width` that is at least nine tenths of it, as these papers' code rounds."""
    rounded = max(by, int(width + by / 2) // by * by)
    return rounded + by if rounded < 0.9 * width else rounded


def scaled_side(side: int, percent: int) -> int:
    """Pixels of an image's side that the network works at: a multiple of 8, from 32 pixels on."""
    wanted = side * percent / 100
    return side if percent == 100 else max(min(side, 32), round(wanted / 8) * 8)


def convolved(
    inputs: int, outputs: int, kernel: int, activation: str, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution, batch normalisation and, unless its name is empty, an activation."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    layers: list[nn.Module] = [conv, nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, ACTIVATIONS[activation](inplace=True)) if activation else nn.Sequential(*layers)


class SqueezeExcitation(nn.Module):
    """Scales each channel by what all channels' means say of it."""

    def __init__(self, channels: int, squeeze: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, squeeze, 1)
        self.relu = nn.ReLU(inplace=True)
        self.expand = nn.Conv2d(squeeze, channels, 1)
        self.gate = nn.ReLU6(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.expand(self.relu(self.reduce(self.pool(x))))
        # the hard sigmoid, whose own kernel has no second derivative (torch 2.14.1)
        made: Tensor = x * (self.gate(weights + 3) / 6)
        return made


class InvertedResidual(nn.Module):
    def __init__(self, inputs: int, size: BlockSize) -> None:
        super().__init__()
        layers = {}
        if size.inner != inputs:
            layers["expand"] = convolved(inputs, size.inner, 1, size.activation)
        layers["depthwise"] = convolved(size.inner, size.inner, size.kernel, size.activation, size.stride, size.inner)
        self.body = nn.Sequential()
        for name, layer in layers.items():
            self.body.add_module(name, layer)
        if size.squeeze:
            self.body.add_module("squeeze", SqueezeExcitation(size.inner, size.squeeze))
        self.body.add_module("project", convolved(size.inner, size.outputs, 1, ""))
        self.residual = size.stride == 1 and inputs == size.outputs

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.body(x)
        return x + made if self.residual else made


class MobileNet(nn.Module):
    """The network of a plan. Feature layers `stage1` to `stage4` are the last maps at strides 4, 8, 16 and 32."""

    def __init__(self, shape: InputShape, plan: MobilePlan) -> None:
        super().__init__()
        self.size = (scaled_side(shape.height, plan.percent), scaled_side(shape.width, plan.percent))
        self.resized = self.size != (shape.height, shape.width)
        self.stem = convolved(shape.channels, plan.stem, 3, plan.stem_activation, stride=2)
        self.blocks = nn.Sequential()
        self.feature_layers = {"stem": FeatureLayer("stem")}
        inputs, stride = plan.stem, 2
        for number, block in enumerate(plan.blocks):
            self.blocks.append(InvertedResidual(inputs, block))
            inputs, stride = block.outputs, stride * block.stride
            if stage := STAGE_STRIDES.get(stride):
                # no activation follows a linear bottleneck
                self.feature_layers |= dict.fromkeys((stage, f"{stage}.pre"), FeatureLayer(f"blocks.{number}"))
        self.head = convolved(inputs, plan.head, 1, plan.head_activation)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1))
        self.mix: nn.Module = nn.Identity()
        if plan.mix:
            linear = nn.Linear(plan.head, plan.mix, bias=plan.mix_bias)
            self.mix = nn.Sequential(linear, ACTIVATIONS[plan.head_activation](inplace=True))
        self.classifier = nn.Linear(plan.mix or plan.head, shape.classes)
        self.feature_layers |= {
            "stage4": FeatureLayer("head"),
            "stage4.pre": FeatureLayer("head.2", "input"),
            "pre_pool": FeatureLayer("pool", "input"),
            "pooled": FeatureLayer("classifier", "input"),
        }
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        if self.resized:
            x = F.interpolate(x, self.size, mode="bilinear", align_corners=False)
        logits: Tensor = self.classifier(self.mix(self.pool(self.head(self.blocks(self.stem(x))))))
        return logits


def mobile_cost(shape: InputShape, plan: MobilePlan) -> tuple[int, int]:
    """Parameters, and multiply-adds for one image, of the `MobileNet` of this plan, without building it."""
    params, macs = sum_costs(convolutions_of(shape, plan), plan.mix or plan.head, shape.classes)
    return params + plan.mix * (plan.head + plan.mix_bias), macs + plan.mix * plan.head


def convolutions_of(shape: InputShape, plan: MobilePlan) -> Iterator[ConvolutionSize]:
    height, width = (halve(scaled_side(side, plan.percent)) for side in (shape.height, shape.width))
    yield ConvolutionSize(shape.channels, plan.stem, 3, height * width)
    inputs = plan.stem
    for block in plan.blocks:
        if block.inner != inputs:
            yield ConvolutionSize(inputs, block.inner, 1, height * width)
        if block.stride == 2:
            height, width = halve(height), halve(width)
        yield ConvolutionSize(block.inner, block.inner, block.kernel, height * width, groups=block.inner)
        if block.squeeze:
            yield ConvolutionSize(block.inner, block.squeeze, 1, 1, norm=False, bias=True)
            yield ConvolutionSize(block.squeeze, block.inner, 1, 1, norm=False, bias=True)
        yield ConvolutionSize(block.inner, block.outputs, 1, height * width)
        inputs = block.outputs
    yield ConvolutionSize(inputs, plan.head, 1, height * width)


def blocks_of_table(rows: Sequence[tuple[int, int, int, int]], inputs: int) -> tuple[BlockSize, ...]:
    """Blocks of a table of (expansion, channels, blocks, stride of the first), as in MobileNetV2's table 2."""
    made = []
    for expansion, outputs, count, stride in rows:
        for place in range(count):
            made.append(BlockSize(outputs, expansion * inputs, stride=1 if place else stride))
            inputs = outputs
    return tuple(made)
