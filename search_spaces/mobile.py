"""Inverted residuals: kernel, expansion, depth and width of each stage, with or without squeeze-and-excitation.

The grammar of Sandler et al. MobileNetV2. 2018. arXiv:1801.04381, table 2, whose network is the default, with what
later searches vary: kernels, squeeze-and-excitation and hard swish (Howard et al. 2019. arXiv:1905.02244), depth,
expansion and resolution (Cai et al. Once-for-All. 2019. arXiv:1908.09791; Lin et al. Zen-NAS. 2021. arXiv:2102.01063).
All blocks of a stage are alike here, while those papers' may differ. The ranges are ours: a third to one and a half
times the widths of MobileNetV2. `resolution` is a percentage of the images' height and width: of 224 pixels 57, 71, 86
and 100 are 128, 160, 192 and 224.
"""

from __future__ import annotations

from torch import nn

from automl_kd.models.imagenet.mobile import BlockSize, MobileNet, MobilePlan, divisible, mobile_cost
from automl_kd.space import Choice, Domain, InputShape, IntRange, Parameter, Scalar, SearchSpace, Values

STRIDES = (2, 2, 2, 1, 2, 1)
"""Of the first block of each stage."""

MOBILENETV2 = ((6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1))
"""Expansion, channels and blocks of each stage."""

WIDTHS = (
    (8, 12, 16, 24, 32, 40),
    (12, 16, 24, 32, 40, 48),
    (24, 32, 48, 64, 80, 96),
    (32, 48, 64, 96, 112, 144),
    (48, 64, 80, 112, 160, 240),
    (96, 112, 160, 224, 320, 480),
)
MOST_BLOCKS = (4, 4, 6, 4, 4, 2)
SQUEEZED = 4
"""A squeeze-and-excitation has a quarter of the inner channels inside, as in MobileNetV3."""


def mobile_plan(values: Values) -> MobilePlan:
    stem, activation = int(values["stem"]), str(values["activation"])
    first = int(values["first"])
    blocks, inputs = [BlockSize(first, stem, activation=activation)], first
    for stage, stride in enumerate(STRIDES, start=1):
        outputs, kernel = int(values[f"width{stage}"]), int(values[f"kernel{stage}"])
        for place in range(int(values[f"depth{stage}"])):
            inner = int(values[f"expansion{stage}"]) * inputs
            squeeze = divisible(inner / SQUEEZED) if values[f"se{stage}"] else 0
            blocks.append(BlockSize(outputs, inner, kernel, 1 if place else stride, squeeze, activation))
            inputs = outputs
    return MobilePlan(
        stem=stem,
        blocks=tuple(blocks),
        head=int(values["head"]),
        stem_activation=activation,
        head_activation=activation,
        percent=int(values["resolution"]),
    )


def build_mobile(values: Values, shape: InputShape) -> nn.Module:
    return MobileNet(shape, mobile_plan(values))


def cost_mobile(values: Values, shape: InputShape) -> tuple[int, int]:
    return mobile_cost(shape, mobile_plan(values))


def describe_mobile(values: Values) -> str:
    """Such as "32-16 24x2k3e6 32x3k5e4s ... 1280 relu6 @86": channels x blocks, kernel, expansion, s for squeezing."""
    stages = [
        f"{values[f'width{stage}']}x{values[f'depth{stage}']}k{values[f'kernel{stage}']}e{values[f'expansion{stage}']}"
        + "s" * bool(values[f"se{stage}"])
        for stage in range(1, len(STRIDES) + 1)
    ]
    ends = f"{values['head']} {values['activation']} @{values['resolution']}"
    return f"{values['stem']}-{values['first']} {' '.join(stages)} {ends}"


def stage_domains(stage: int) -> dict[str, Domain]:
    return {
        f"depth{stage}": IntRange(1, MOST_BLOCKS[stage - 1]),
        f"width{stage}": Choice(WIDTHS[stage - 1]),
        f"kernel{stage}": Choice((3, 5, 7)),
        f"expansion{stage}": Choice((2, 3, 4, 6)),
        f"se{stage}": Choice((False, True)),
    }


def mobilenet_v2() -> Values:
    stages: dict[str, Scalar] = {}
    for stage, (expansion, width, depth) in enumerate(MOBILENETV2, start=1):
        stages |= {f"depth{stage}": depth, f"width{stage}": width, f"expansion{stage}": expansion}
        stages |= {f"kernel{stage}": 3, f"se{stage}": False}
    return {"resolution": 100, "activation": "relu6", "stem": 32, "first": 16, "head": 1280, **stages}


SPACE = SearchSpace(
    name="mobile",
    source="arXiv:1801.04381, table 2, and arXiv:1905.02244; ranges ours",
    parameters={
        "resolution": Parameter(Choice((57, 71, 86, 100))),
        "activation": Parameter(Choice(("relu6", "hardswish"))),
        "stem": Parameter(Choice((12, 16, 24, 32, 40))),
        "first": Parameter(Choice((8, 12, 16, 24))),
        "head": Parameter(Choice((320, 480, 640, 960, 1280, 1600))),
        **{
            name: Parameter(domain)
            for stage in range(1, len(STRIDES) + 1)
            for name, domain in stage_domains(stage).items()
        },
    },
    build=build_mobile,
    default=mobilenet_v2(),
    describe=describe_mobile,
    cost=cost_mobile,
)
