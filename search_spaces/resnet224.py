"""Residual networks for large images: depths, widths, the kind of block and of stem, around ResNet-18.

The family of He, Zhang, Ren, Sun. Deep Residual Learning for Image Recognition. 2015. arXiv:1512.03385, table 1:
ResNet-18, ResNet-34 and ResNet-50 are points of it. The ranges are ours. The stem "small" neither strides nor pools,
for images of about 64 pixels and less.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from torch import nn

from automl_kd.models.imagenet.resnet import ResNet224, resnet224_cost
from automl_kd.space import Choice, InputShape, IntRange, Parameter, SearchSpace, Values

STAGE_DEPTHS = ("depth1", "depth2", "depth3", "depth4")
STAGE_WIDTHS = ("width1", "width2", "width3", "width4")


class Stages(TypedDict):
    """Arguments of `ResNet224` and of `resnet224_cost`."""

    depths: Sequence[int]
    widths: Sequence[int]
    block: str
    stem: str


def stage_arguments(values: Values) -> Stages:
    return {
        "depths": [int(values[name]) for name in STAGE_DEPTHS],
        "widths": [int(values[name]) for name in STAGE_WIDTHS],
        "block": str(values["block"]),
        "stem": str(values["stem"]),
    }


def build_resnet224(values: Values, shape: InputShape) -> nn.Module:
    return ResNet224(shape, **stage_arguments(values))


def cost_resnet224(values: Values, shape: InputShape) -> tuple[int, int]:
    return resnet224_cost(shape, **stage_arguments(values))


def describe_resnet224(values: Values) -> str:
    """Such as "7x7 basic 2-2-2-2 x 64-128-256-512"."""
    depths, widths = ("-".join(str(values[name]) for name in names) for names in (STAGE_DEPTHS, STAGE_WIDTHS))
    return f"{values['stem']} {values['block']} {depths} x {widths}"


RESNET18: Values = {
    "block": "basic",
    "stem": "7x7",
    **dict.fromkeys(STAGE_DEPTHS, 2),
    **dict(zip(STAGE_WIDTHS, (64, 128, 256, 512), strict=True)),
}
RESNET34: Values = {**RESNET18, **dict(zip(STAGE_DEPTHS, (3, 4, 6, 3), strict=True))}
RESNET50: Values = {**RESNET34, "block": "bottleneck"}

SPACE = SearchSpace(
    name="resnet224",
    source="arXiv:1512.03385, table 1; ranges ours",
    parameters={
        "block": Parameter(Choice(("basic", "bottleneck"))),
        "stem": Parameter(Choice(("7x7", "deep", "small"))),
        "depth1": Parameter(IntRange(1, 4)),
        "depth2": Parameter(IntRange(1, 5)),
        "depth3": Parameter(IntRange(1, 8)),
        "depth4": Parameter(IntRange(1, 4)),
        "width1": Parameter(Choice((16, 24, 32, 48, 64, 80))),
        "width2": Parameter(Choice((32, 48, 64, 96, 128, 160))),
        "width3": Parameter(Choice((64, 96, 128, 192, 256, 320))),
        "width4": Parameter(Choice((128, 192, 256, 384, 512, 640))),
    },
    build=build_resnet224,
    default=RESNET18,
    describe=describe_resnet224,
    cost=cost_resnet224,
)
