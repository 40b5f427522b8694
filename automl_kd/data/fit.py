"""How images of any size are brought to one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from automl_kd.spec import DataSpec, Interpolation, ResizeRule

COLOURS = 3
"""Channels of images that are decoded from files."""

Size = tuple[int, int]
"""Height and width."""


@dataclass(frozen=True)
class Fit:
    """How images are brought to one size.

    `size`: height and width wanted, 0 for the images' own, which leaves them as they are. `crop` in (0, 1]: the part of
    the shorter side that the middle square has which is cut out. `interpolation`, `resize`: see `DataSpec`.
    """

    size: int = 0
    crop: float = 1.0
    interpolation: Interpolation = "bilinear"
    resize: ResizeRule = ""

    @staticmethod
    def of(spec: DataSpec, size: int) -> Fit:
        return Fit(size, spec.crop, spec.interpolation, spec.resize)

    @property
    def scaled_side(self) -> int:
        """The shorter side of the image out of whose middle the square is cut."""
        return max(self.size, math.floor(self.size / self.crop + CROP_ROUNDING))


CROP_ROUNDING = 1e-6
"""Tolerance in pixels: a quotient may fall short of a whole number by rounding alone."""
