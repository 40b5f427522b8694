"""The record of how a network takes its images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from automl_kd.spec.checks import require

Interpolation = Literal["bilinear", "bicubic", "lanczos", "nearest", "box"]
"""Ways to resize; all but "nearest" average over what they drop."""

INTERPOLATIONS: tuple[str, ...] = get_args(Interpolation)

ResizeRule = Literal["", "torchvision", "transformers", "squash"]
"""Ways to make an image square: the middle of it, with sides and offsets rounded as a library does, or all of it."""

RESIZES: tuple[str, ...] = get_args(ResizeRule)

YOUNGER_PREPROCESSING_FIELDS = ("resize",)
"""Those that records of earlier releases do not have; they are stored where they are set."""


@dataclass(frozen=True)
class Preprocessing:
    """What a network does to an image before its first layer: (image - mean) / std for each channel.

    `mean` (any): one number for each channel, or one for all, from 0 to white; empty takes that of the data, or 0 where
    white is not 1. `std` (any): the deviations that go with them, above 0 and at most white. `white` (above 0): the
    value of white in these numbers; 255 for a network that takes bytes as they are. `channels`: the order of colours.
    `crop` (0 to 1): the part of the shorter side that the middle square has; 0 takes data.crop. `interpolation`
    (bilinear, bicubic, lanczos, nearest or box): how images are resized; empty takes data.interpolation. `resize`
    (torchvision, transformers or squash): how they become square, as data.resize; empty takes that.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    white: float = 1.0
    channels: Literal["rgb", "bgr"] = "rgb"
    crop: float = 0.0
    interpolation: Interpolation | Literal[""] = ""
    resize: ResizeRule = ""

    def __post_init__(self) -> None:
        require(0 < self.white < math.inf, f"white must be above 0, got {self.white}")
        require_moments(self.mean, self.std, self.white)
        require(0 <= self.crop <= 1, f"crop must lie above 0 and at most at 1, or be 0 for the data's, got {self.crop}")
        require(
            self.interpolation == "" or self.interpolation in INTERPOLATIONS, wrong_interpolation(self.interpolation)
        )
        require(self.resize in RESIZES, wrong_resize(self.resize))

    @property
    def moments(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """`mean` and `std` as fractions of white; None for those of the data."""
        if self.mean:
            return tuple(one / self.white for one in self.mean), tuple(one / self.white for one in self.std)
        return None if self.white == 1 else ((0.0,), (1 / self.white,))


def require_moments(mean: tuple[float, ...], std: tuple[float, ...], white: float = 1.0) -> None:
    """Refuse means and deviations that are not one of each channel, between black and white."""
    unit = "as fractions of white" if white == 1 else f"where white is {white:g}"
    require(len(mean) == len(std), f"mean and std must have one number for each channel, got {mean} and {std}")
    require(all(0 <= value <= white for value in mean), f"mean must lie in 0 to {white:g}, {unit}, got {mean}")
    require(
        all(0 < value <= white for value in std),
        f"std must lie above 0 and at most at {white:g}, {'of white' if white == 1 else unit}, got {std}",
    )


def wrong_interpolation(name: str) -> str:
    return f"interpolation must be one of {', '.join(INTERPOLATIONS)}, got {name!r}"


def wrong_resize(name: str) -> str:
    return f"resize must be one of {', '.join(RESIZES[1:])}, or empty, got {name!r}"


def read_preprocessing(record: Mapping[str, Any]) -> Preprocessing:
    return Preprocessing(**{**record, **{name: tuple(record[name]) for name in ("mean", "std") if name in record}})
