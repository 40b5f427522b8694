"""Networks of published searches, in the grammar of `mobile`, as references beside what is found in that space.

Structures are taken from the projects' own files. Figures are those that their authors publish: parameters in millions,
multiply-adds in millions at `side`, top-1 accuracy on ImageNet in percent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from automl_kd.models.imagenet.mobile import BlockSize, MobileNet, MobilePlan, blocks_of_table, divisible
from automl_kd.space import InputShape

PublishedRow = tuple[int, int, int, int, bool]
"""Kernel, inner channels, channels, stride, and whether a squeeze-and-excitation follows."""


@dataclass(frozen=True)
class Published:
    """`with_kd`: whether the published accuracy is of training with a teacher; None if that is not said."""

    plan: MobilePlan
    side: int
    params: float
    macs: float
    accuracy: float
    with_kd: bool | None
    source: str


def rows_of(activation: str, rows: Sequence[PublishedRow]) -> tuple[BlockSize, ...]:
    """Squeezed to a quarter of the inner channels, in multiples of eight."""
    return tuple(
        BlockSize(outputs, inner, kernel, stride, divisible(inner // 4) if squeezed else 0, activation)
        for kernel, inner, outputs, stride, squeezed in rows
    )


MOBILENET_V2 = MobilePlan(
    stem=32,
    blocks=blocks_of_table(
        [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)], 32
    ),
    head=1280,
)

MOBILENET_V3_LARGE = MobilePlan(
    stem=16,
    blocks=(
        *rows_of("relu", [(3, 16, 16, 1, False), (3, 64, 24, 2, False), (3, 72, 24, 1, False), (5, 72, 40, 2, True)]),
        *rows_of("relu", [(5, 120, 40, 1, True)] * 2),
        *rows_of("hardswish", [(3, 240, 80, 2, False), (3, 200, 80, 1, False), *[(3, 184, 80, 1, False)] * 2]),
        *rows_of("hardswish", [(3, 480, 112, 1, True), (3, 672, 112, 1, True), (5, 672, 160, 2, True)]),
        *rows_of("hardswish", [(5, 960, 160, 1, True)] * 2),
    ),
    head=960,
    mix=1280,
    stem_activation="hardswish",
    head_activation="hardswish",
)

OFA_595 = MobilePlan(
    stem=24,
    blocks=(
        *rows_of("relu", [(3, 24, 24, 1, False), (3, 72, 32, 2, False), (5, 128, 32, 1, False), (3, 96, 32, 1, False)]),
        *rows_of("relu", [(5, 128, 48, 2, True), (5, 192, 48, 1, True), (3, 288, 48, 1, True), (5, 144, 48, 1, True)]),
        *rows_of("hardswish", [(7, 288, 96, 2, False), (5, 576, 96, 1, False), (3, 288, 96, 1, False)]),
        *rows_of("hardswish", [(5, 384, 96, 1, False), (3, 576, 136, 1, True), (5, 816, 136, 1, True)]),
        *rows_of("hardswish", [(7, 816, 136, 1, True), (3, 544, 136, 1, True), (3, 816, 192, 2, True)]),
        *rows_of("hardswish", [(3, 1152, 192, 1, True), (5, 1152, 192, 1, True), (3, 576, 192, 1, True)]),
    ),
    head=1152,
    mix=1536,
    mix_bias=False,
    stem_activation="hardswish",
    head_activation="hardswish",
)

OFA_352 = MobilePlan(
    stem=40,
    blocks=rows_of(
        "relu6",
        [
            *[(3, 40, 24, 1, False), (3, 72, 32, 2, False), (3, 96, 32, 1, False), (5, 192, 56, 2, False)],
            *[(5, 168, 56, 1, False), (7, 168, 104, 2, False), (3, 312, 104, 1, False), (7, 416, 104, 1, False)],
            *[(7, 416, 128, 1, False), (5, 512, 128, 1, False), (3, 384, 128, 1, False), (7, 512, 128, 1, False)],
            *[(3, 768, 248, 2, False), (5, 1488, 248, 1, False), (5, 992, 248, 1, False), (3, 1488, 248, 1, False)],
            *[(3, 992, 416, 1, False)],
        ],
    ),
    head=1664,
)

PUBLISHED_MOBILE: Mapping[str, Published] = {
    "mobilenet-v2": Published(
        MOBILENET_V2, 224, 3.504872, 300.8, 71.878, with_kd=False,
        source="arXiv:1801.04381, table 2; torchvision's IMAGENET1K_V1",
    ),
    "mobilenet-v3-large": Published(
        MOBILENET_V3_LARGE, 224, 5.483032, 216.6, 75.274, with_kd=False,
        source="arXiv:1905.02244, table 1; torchvision's IMAGENET1K_V2",
    ),
    "ofa-595": Published(
        OFA_595, 236, 9.1, 595, 80.0, with_kd=None,
        source="arXiv:1908.09791, flops@595M_top1@80.0_finetune@75",
    ),
    "ofa-352": Published(
        OFA_352, 192, 6.2, 352, 76.1, with_kd=None,
        source="arXiv:1908.09791, v100_gpu64@11ms_top1@76.1_finetune@25; side inferred from the multiply-adds",
    ),
}  # fmt: skip
"""By name, as models of the zoo."""


def published_network(name: str, shape: InputShape) -> MobileNet:
    """The network called `name` in `PUBLISHED_MOBILE`, for images of any size."""
    return MobileNet(shape, PUBLISHED_MOBILE[name].plan)
