"""RandAugment and TrivialAugmentWide: random operations on each image, drawn by counter words.

Cubuk, Zoph, Shlens, Le. RandAugment. 2019. arXiv:1909.13719. Müller, Hutter. TrivialAugment. 2021. arXiv:2103.10158.
Operations, 31 steps of magnitude and their ranges are those of torchvision's `RandAugment` and `TrivialAugmentWide`.
All images that drew one operation are changed by one call. On the processor that is what they cost; on a GPU each
operation is carried out on all images and chosen from, because to count them would be to wait for the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from automl_kd.data.augment import operations
from automl_kd.data.augment.operations import ONE
from automl_kd.data.counter import draw_below, draw_words, key
from automl_kd.spec import Recipe

MAGNITUDES = 31
"""Magnitudes, from 0 to 30."""

AT_ONCE = 128
"""Images of a GPU's batch that an operation changes together: its whole numbers take many times the memory of bytes."""

GEOMETRY = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
FACTOR_CHANGES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "brightness": operations.brightness,
    "colour": operations.saturation,
    "contrast": operations.contrast,
    "sharpness": operations.sharpness,
}
LEVEL_CHANGES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "posterize": operations.posterize,
    "solarize": operations.solarize,
    "autocontrast": operations.autocontrast,
    "equalize": operations.equalize,
}
NAMES = ("identity", *GEOMETRY, *FACTOR_CHANGES, *LEVEL_CHANGES)


class PolicyRanges(NamedTuple):
    """The largest magnitudes of a policy. `translation`: in pixels of an image of a width; `angle`: in degrees.

    `bits`: by how many posterize reduces a byte.
    """

    shear: float
    translation: Callable[[int], float]
    angle: float
    factor: float
    bits: int


POLICIES = {
    "rand": PolicyRanges(shear=0.3, translation=lambda width: 150 / 331 * width, angle=30.0, factor=0.9, bits=4),
    "trivial": PolicyRanges(shear=0.99, translation=lambda width: 32.0, angle=135.0, factor=0.99, bits=6),  # noqa: ARG005 - whatever the width
}


def apply_policy(images: Tensor, recipe: Recipe, stream: int, counters: Tensor) -> Tensor:
    """`images`, uint8, which are overwritten, after the operations of the recipe's policy, "rand" or "trivial"."""
    rand = recipe.policy == "rand"
    for turn in range(recipe.policy_ops if rand else 1):
        words = draw_words(key(stream, turn), counters)
        step = torch.full_like(words, recipe.policy_magnitude) if rand else draw_below(words, 1, MAGNITUDES)
        chosen, sign = draw_below(words, 0, len(NAMES)), draw_below(words, 2, 2)
        images = apply_operations(images, recipe.policy, chosen, step, sign)
    return images


def apply_operations(images: Tensor, policy: str, chosen: Tensor, step: Tensor, sign: Tensor) -> Tensor:
    """To each image the operation of its number in `NAMES`, at `step` of `MAGNITUDES`; `sign` 1 turns it round.

    All int64 (n,).
    """
    size = (images.shape[2], images.shape[3])
    tables = operation_tables(policy, size, images.device)
    cell = (chosen * MAGNITUDES + step) * 2 + sign
    geometry = (chosen >= 1) & (chosen <= len(GEOMETRY))
    images = change_where(images, geometry, operations.move, tables.source[cell])
    for name, change in (FACTOR_CHANGES | LEVEL_CHANGES).items():
        images = change_where(images, chosen == NAMES.index(name), change, tables.number[cell])
    return images


def change_where(images: Tensor, chosen: Tensor, change: Callable[[Tensor, Tensor], Tensor], number: Tensor) -> Tensor:
    """`images` with `change` done to those `chosen`, bool (n,), by the `number` of each."""
    if images.device.type != "cpu":
        pieces = zip(*(torch.split(value, AT_ONCE) for value in (images, chosen, number)), strict=True)
        return torch.cat([torch.where(which[:, None, None, None], change(one, by), one) for one, which, by in pieces])
    rows = chosen.nonzero().flatten()
    if len(rows):
        images[rows] = change(images[rows], number[rows])
    return images


class Tables(NamedTuple):
    """For each operation, step and sign in this order: `source` (cells, 6) of `move`, `number` (cells,) of others."""

    source: Tensor
    number: Tensor


@cache
def operation_tables(policy: str, size: tuple[int, int], device: torch.device) -> Tables:
    """int64, computed on the processor; `size`: height and width of the images."""
    cells = [(name, step, sign) for name in NAMES for step in range(MAGNITUDES) for sign in (1, -1)]
    with torch.inference_mode(False):
        source = torch.tensor([matrix_of(policy, *cell, size) for cell in cells], device="cpu")
        number = torch.tensor([number_of(policy, *cell) for cell in cells], device="cpu")
        return Tables(source.to(device), number.to(device))


def matrix_of(policy: str, name: str, step: int, sign: int, size: tuple[int, int]) -> list[int]:
    """The matrix of `operations.move`; that which moves nothing for what is no geometry."""
    ranges, (height, width), part = POLICIES[policy], size, step / (MAGNITUDES - 1)
    a, b, c, d, e, f = 1.0, 0.0, 0.0, 0.0, 1.0, 0.0
    # Centres of pixels lie half a pixel inwards; rows and columns are counted from the point that stays in its place.
    x, y = 0.5, 0.5
    if name == "shear_x":
        b = sign * ranges.shear * part
    elif name == "shear_y":
        d = sign * ranges.shear * part
    elif name == "translate_x":
        c = -float(int(sign * ranges.translation(width) * part))
    elif name == "translate_y":
        f = -float(int(sign * ranges.translation(height) * part))
    elif name == "rotate":
        angle = math.radians(sign * ranges.angle * part)
        a, b, d, e = math.cos(angle), -math.sin(angle), math.sin(angle), math.cos(angle)
        x, y = 0.5 - width / 2, 0.5 - height / 2
    c += a * x + b * y - x + 0.5
    f += d * x + e * y - y + 0.5
    return [round(value * ONE) for value in (a, b, c, d, e, f)]


def number_of(policy: str, name: str, step: int, sign: int) -> int:
    ranges, part = POLICIES[policy], step / (MAGNITUDES - 1)
    if name in FACTOR_CHANGES:
        return round((1 + sign * ranges.factor * part) * ONE)
    if name == "posterize":
        return 8 - round(part * ranges.bits)
    return math.ceil(255 * (MAGNITUDES - 1 - step) / (MAGNITUDES - 1)) if name == "solarize" else 0
