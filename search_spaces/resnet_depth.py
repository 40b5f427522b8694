"""How deep each stage of a narrow residual network should be: 64 students.

Dong, Li, Wei. DisWOT: Student Architecture Search for Distillation WithOut Training. 2023. arXiv:2303.15678, the
space called S1 there: CIFAR residual networks of basic blocks, widths 16, 16, 32 and 64, with 1, 3, 5 or 7 blocks in
each of three stages. Its authors publish the accuracy of all 64 on CIFAR-100, with and without distillation.
"""

from __future__ import annotations

from torch import nn

from automl_kd.models.resnet import NARROW, ResNet, resnet_cost
from automl_kd.space import Choice, InputShape, Parameter, SearchSpace, Values

DEPTH_NAMES = ("depth1", "depth2", "depth3")


def depths(values: Values) -> list[int]:
    return [int(values[stage]) for stage in DEPTH_NAMES]


def build_by_depths(values: Values, shape: InputShape) -> nn.Module:
    return ResNet(shape, depths(values), NARROW)


def cost_by_depths(values: Values, shape: InputShape) -> tuple[int, int]:
    return resnet_cost(shape, depths(values), NARROW)


def describe_depths(values: Values) -> str:
    return "-".join(str(depth) for depth in depths(values))


SPACE = SearchSpace(
    name="resnet-depth",
    source="arXiv:2303.15678, space S1",
    parameters={stage: Parameter(Choice((1, 3, 5, 7))) for stage in DEPTH_NAMES},
    build=build_by_depths,
    default=dict.fromkeys(DEPTH_NAMES, 3),  # ResNet-20
    describe=describe_depths,
    cost=cost_by_depths,
)
