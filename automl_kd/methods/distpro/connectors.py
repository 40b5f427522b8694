"""Connectors: the layers by which one pathway brings a student's map to the width and size of a teacher's.

Xueqing Deng, Dawei Sun, Shawn Newsam, Peng Wang. DistPro: Searching A Fast Knowledge Distillation Process via Meta
Optimization. 2022. arXiv:2204.05547. The four kinds and their initial weights are those of the published code; the
paper's text gives no table of them. The code enlarges maps to sizes written out for 32x32 images, always by repeating
pixels; here the size is that of the teacher's map. Where the student's map is the larger one, which the code's
pathways never meet, it is averaged, so that a vector sees the whole map and not only its corner.

"shared" is ours. What the published connectors cost is most of what a step costs beyond plain KD: ten of them take as
long as KD does, and three times its memory. Here all pathways from one of the student's stages share their first
layers, which do the spatial work at the student's resolution; a pathway's own is one 1x1 convolution.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from automl_kd.models.blocks import convolution

MAX_CONNECTOR_WIDTH = 512
"""The inner width is that of the narrower of the two maps, at most this."""


class Resize(nn.Module):
    """To height and width `size`: pixels are repeated where it is larger, averaged where it is smaller.

    A pass may ask for another size: texts have one in each batch.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Float[Tensor, "batch channels height width"], size: tuple[int, int] | None = None) -> Tensor:
        height, width = x.shape[2:]
        size = size or self.size
        if (height, width) == size:
            return x
        if height > size[0] or width > size[1]:
            return F.adaptive_avg_pool2d(x, size)
        return F.interpolate(x, size, mode="nearest")


class Connector(nn.Sequential):
    """Its layers in order; maps end in height and width `size`, or without it in those that it was made for."""

    def forward(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        for layer in self:
            x = layer(x, size) if isinstance(layer, Resize) else layer(x)
        return x


class Attention(nn.Module):
    """Each position times a number that a 1x1 convolution makes of it: unbounded and of either sign, as published."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = convolution(width, 1, 1)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Tensor:
        score: Tensor = self.score(x)
        return x * score


def block(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    """A convolution, drawn from N(0, 2 / (kernel^2 outputs)), and batch normalisation."""
    layer = convolution(inputs, outputs, kernel)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return [layer, nn.BatchNorm2d(outputs)]


def plain_connector(c_s: int, c_t: int, size: tuple[int, int]) -> list[nn.Module]:
    """One 1x1 convolution."""
    return [*block(c_s, c_t, 1), Resize(size)]


def two(c_s: int, c_t: int, size: tuple[int, int]) -> list[nn.Module]:
    """1x1, attention, 3x3."""
    m = min(MAX_CONNECTOR_WIDTH, c_s, c_t)
    return [*block(c_s, m, 1), Attention(m), Resize(size), *block(m, c_t, 3)]


def three(c_s: int, c_t: int, size: tuple[int, int]) -> list[nn.Module]:
    """1x1, attention, 3x3, 3x3."""
    m = min(MAX_CONNECTOR_WIDTH, c_s, c_t)
    return [*block(c_s, m, 1), Attention(m), Resize(size), *block(m, m, 3), *block(m, c_t, 3)]


def complex_(c_s: int, c_t: int, size: tuple[int, int]) -> list[nn.Module]:
    """Three 3x3 convolutions with ReLU and attention; resized late, while the map is still small."""
    m = min(MAX_CONNECTOR_WIDTH, c_s, c_t)
    start = [*block(c_s, m, 3), nn.ReLU(), Attention(m)]
    return [*start, *block(m, m, 3), nn.ReLU(), Resize(size), *block(m, c_t, 3)]


def one(c_s: int, c_t: int, size: tuple[int, int]) -> list[nn.Module]:  # noqa: ARG001 - one signature for all kinds
    """A 1x1 convolution with bias, of maps that come out of `shared_layers`; at their resolution."""
    layer = nn.Conv2d(min(MAX_CONNECTOR_WIDTH, c_s), c_t, 1)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="linear")
    return [layer]


def shared_layers(student: Float[Tensor, "batch c_s h_s w_s"]) -> nn.Sequential:
    """What the shared pathways from one stage of the student have in common: 3x3 with ReLU.

    Without attention, whose products only a normalisation behind it would bound: at a rate of 0.05 they grew from 1 to
    10^7 within eight steps.
    """
    width = student.shape[1]
    return nn.Sequential(*block(width, min(MAX_CONNECTOR_WIDTH, width), 3), nn.ReLU(inplace=True))


SHARED = "shared"

CONNECTORS: Mapping[str, Callable[[int, int, tuple[int, int]], list[nn.Module]]] = {
    "plain": plain_connector,
    "2conv": two,
    "3conv": three,
    "complex": complex_,
    SHARED: one,
}
"""From (student channels, teacher channels, teacher height and width) to the layers in order."""


def connector(
    kind: str,
    student: Float[Tensor, "batch c_s h_s w_s"],
    teacher: Float[Tensor, "batch c_t h_t w_t"],
) -> Connector:
    """The connector called `kind`, an entry of `CONNECTORS`, from maps shaped like `student` to those of `teacher`.

    Draws initial weights from torch's global generator.
    """
    size = (teacher.shape[2], teacher.shape[3])
    return Connector(*CONNECTORS[kind](student.shape[1], teacher.shape[1], size))
