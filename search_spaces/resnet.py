"""Residual networks of three stages: depths, widths and the kind of block, around ResNet-20.

The family of He, Zhang, Ren, Sun. Deep Residual Learning for Image Recognition. 2015. arXiv:1512.03385, section 4.2,
with bottleneck blocks (figure 5) as the alternative to basic ones. The ranges are ours: half to twice the widths of
ResNet-20, one to five blocks a stage. The stem is as wide as the first stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from torch import nn

from automl_kd.models.resnet import BlockKind, ResNet, resnet_cost
from automl_kd.space import Choice, InputShape, IntRange, Parameter, SearchSpace, Values, When

DEPTHS = ("depth1", "depth2", "depth3")
WIDTH_NAMES = ("width1", "width2", "width3")


class Described(TypedDict):
    """Arguments of `ResNet` and of `resnet_cost`."""

    depths: Sequence[int]
    widths: Sequence[int]
    block: BlockKind
    reduction: int


def arguments_of(values: Values) -> Described:
    widths = [int(values[name]) for name in WIDTH_NAMES]
    return {
        "depths": [int(values[name]) for name in DEPTHS],
        "widths": [widths[0], *widths],
        "block": "basic" if values["block"] == "basic" else "bottleneck",
        "reduction": int(values.get("reduction", 1)),
    }


def build_resnet(values: Values, shape: InputShape) -> nn.Module:
    return ResNet(shape, **arguments_of(values))


def cost_resnet(values: Values, shape: InputShape) -> tuple[int, int]:
    return resnet_cost(shape, **arguments_of(values))


def describe_resnet(values: Values) -> str:
    """Such as "basic 3-3-3 x 16-32-64"; "bottleneck/4" is a bottleneck a quarter as wide inside."""
    block = f"{values['block']}/{values['reduction']}" if "reduction" in values else str(values["block"])
    return f"{block} {join(values, DEPTHS)} x {join(values, WIDTH_NAMES)}"


def join(values: Values, names: tuple[str, ...]) -> str:
    return "-".join(str(values[name]) for name in names)


SPACE = SearchSpace(
    name="resnet",
    source="arXiv:1512.03385, section 4.2; ranges ours",
    parameters={
        "block": Parameter(Choice(("basic", "bottleneck"))),
        "reduction": Parameter(Choice((2, 4)), When("block", ("bottleneck",))),
        **{name: Parameter(IntRange(1, 5)) for name in DEPTHS},
        "width1": Parameter(Choice((8, 12, 16, 24, 32))),
        "width2": Parameter(Choice((16, 24, 32, 48, 64))),
        "width3": Parameter(Choice((32, 48, 64, 96, 128))),
    },
    build=build_resnet,
    # ResNet-20
    default={"block": "basic", **dict.fromkeys(DEPTHS, 3), "width1": 16, "width2": 32, "width3": 64},
    describe=describe_resnet,
    cost=cost_resnet,
)
