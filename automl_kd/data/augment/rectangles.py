"""Random rectangles of an image: cut out and resized (RandomResizedCrop), or erased.

Cutting: Szegedy et al. Going Deeper with Convolutions. 2014. arXiv:1409.4842, section 6, with the ten tries of
torchvision's `RandomResizedCrop`. Where none of ten rectangles lies inside the image we take the whole image, and
torchvision its middle. Erasing: Zhong, Zheng, Kang, Li, Yang. Random Erasing Data Augmentation. 2017. arXiv:1708.04896;
areas of 0.02 to 0.33, ratios of 0.3 to 3.3 and the mean as colour are those of torchvision's references.

The images of a set have one size, so that what is cut out of one is enlarged or kept, never reduced: two neighbours in
each direction are all that an antialiased filter would look at.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from automl_kd.data.counter import FIELD_BITS, draw_below, draw_words

RECTANGLE_TRIES = 10
SLOTS = 16
"""Words for each image: one for every try, the others for what is drawn once."""

RATIOS = 1024
"""Steps between the least and the largest ratio of sides, evenly spaced on a logarithmic scale."""

WEIGHT_BITS = 11
"""Of the weights by which neighbouring pixels are added: two products of them and a byte fit into 32 bits."""

ERASED_AREA, ERASED_RATIO = (0.02, 0.33), 10 / 3


class Rectangles(NamedTuple):
    """int64 (n,) each, in pixels; `found`: whether a try lay inside the image. `once`: a word for other draws."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor
    found: Tensor
    once: Tensor


@cache
def ratio_roots(ratio: float, device: torch.device) -> Tensor:
    """Square roots of ratios from 1 / `ratio` to `ratio`, float64 (RATIOS,), computed on the processor."""
    with torch.inference_mode(False):
        logs = torch.linspace(-math.log(ratio), math.log(ratio), RATIOS, dtype=torch.float64, device="cpu")
        return (logs / 2).exp().to(device)


def draw_rectangles(
    stream: int, counters: Tensor, size: tuple[int, int], area: tuple[float, float], ratio: float
) -> Rectangles:
    """One rectangle for each of `counters`, int64 (n,), inside images of `size`, (height, width) in pixels.

    `area`: least and largest, as fractions of the image's. `ratio`: the most that width and height differ by.
    """
    height, width = size
    slots = counters[:, None] * SLOTS + torch.arange(RECTANGLE_TRIES + 1, device=counters.device)
    words = draw_words(stream, slots)
    tried, once = words[:, :RECTANGLE_TRIES], words[:, RECTANGLE_TRIES]
    # Square roots, products and quotients of float64 are rounded the same way on every device.
    least, span = area[0] * height * width, (area[1] - area[0]) * height * width
    side = (least + span / (1 << FIELD_BITS) * draw_below(tried, 0, 1 << FIELD_BITS).double()).sqrt()
    root = ratio_roots(ratio, counters.device)[draw_below(tried, 1, RATIOS)]
    heights, widths = ((side / root + 0.5).long(), (side * root + 0.5).long())
    inside = (heights >= 1) & (heights <= height) & (widths >= 1) & (widths <= width)
    first = inside.long().argmax(dim=1, keepdim=True)
    found = inside.gather(1, first)[:, 0]
    cut_height, cut_width = heights.gather(1, first)[:, 0], widths.gather(1, first)[:, 0]
    cut_height, cut_width = torch.where(found, cut_height, height), torch.where(found, cut_width, width)
    top, left = draw_below(once, 0, height - cut_height + 1), draw_below(once, 1, width - cut_width + 1)
    return Rectangles(top, left, cut_height, cut_width, found, once)


def random_resized_crop(images: Tensor, stream: int, counters: Tensor, scale: float, ratio: float) -> Tensor:
    """Of uint8 images (n, channels, height, width) a part of at least `scale` of the area, resized to all of it.

    Half of them are mirrored.
    """
    size = (images.shape[2], images.shape[3])
    cut = draw_rectangles(stream, counters, size, (scale, 1.0), ratio)
    return resize_cuts(images, cut, mirror=draw_below(cut.once, 2, 2))


def resize_cuts(images: Tensor, cut: Rectangles, mirror: Tensor) -> Tensor:
    """Each image's rectangle as large as the image, bilinear; `mirror` (n,): 1 where it is then mirrored."""
    channels, height, width = images.shape[1:]
    y = torch.arange(height, device=images.device).expand(len(images), -1)
    x = torch.arange(width, device=images.device).expand(len(images), -1)
    x = torch.where(mirror[:, None] == 1, width - 1 - x, x)
    above, below, weight = neighbours(y, cut.top, cut.height, height)
    shape = (-1, channels, -1, width)
    upper, lower = (images.gather(2, rows[:, None, :, None].expand(*shape)).int() for rows in (above, below))
    rows = (upper << WEIGHT_BITS) + (lower - upper) * weight[:, None, :, None]
    left, right, weight = neighbours(x, cut.left, cut.width, width)
    shape = (-1, channels, height, -1)
    one, two = (rows.gather(3, columns[:, None, None].expand(*shape)) for columns in (left, right))
    found = (one << WEIGHT_BITS) + (two - one) * weight[:, None, None]
    return ((found + (1 << (2 * WEIGHT_BITS - 1))) >> (2 * WEIGHT_BITS)).to(torch.uint8)


def neighbours(place: Tensor, begin: Tensor, cut: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """The pixels between which the centre of each of `place` (n, length) lies in the cut, and the second one's weight.

    `begin`, `cut` (n,): where the cut begins and how long it is, of `length` pixels.
    """
    centre = torch.div(((2 * place + 1) * cut[:, None] - length) << (WEIGHT_BITS - 1), length, rounding_mode="floor")
    centre = centre.clamp(min=0).minimum(((cut - 1) << WEIGHT_BITS)[:, None])
    first = centre >> WEIGHT_BITS
    second = (first + 1).minimum((cut - 1)[:, None])
    return first + begin[:, None], second + begin[:, None], (centre & ((1 << WEIGHT_BITS) - 1)).int()


def erase(images: Tensor, streams: tuple[int, int], counters: Tensor, probability: float, colour: Tensor) -> Tensor:
    """With `probability`, a rectangle of each image in `colour`, uint8 (channels,).

    `streams`: keys of the rectangles and of whether there is one. An image in which no try lies inside stays as it is.
    """
    height, width = images.shape[2:]
    cut = draw_rectangles(streams[0], counters, (height, width), ERASED_AREA, ERASED_RATIO)
    chance = draw_below(draw_words(streams[1], counters), 0, 1 << FIELD_BITS)
    chosen = cut.found & (chance < round(probability * (1 << FIELD_BITS)))
    y, x = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    down, right = y - cut.top[:, None], x - cut.left[:, None]
    rows = (down >= 0) & (down < cut.height[:, None]) & chosen[:, None]
    columns = (right >= 0) & (right < cut.width[:, None])
    erased = rows[:, None, :, None] & columns[:, None, None, :]
    return torch.where(erased, colour.view(1, -1, 1, 1), images)
