"""What a view of an image is: its middle, as sets in memory have it, or a random resized crop.

Random resized crops are those of Szegedy et al. Going Deeper with Convolutions. 2015. arXiv:1409.4842, section 6, in
torchvision's form: an area in `scale`, a ratio in `ratio` uniform in its logarithm, ten attempts, then the largest
middle part whose ratio is allowed. Each number is a counter word of (seed, epoch, index, attempt), so a view is the
same in any order, thread and process. What is cut out is resized alone: filters do not look beyond it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from automl_kd.data.counter import GOLDEN, MASK, key, mix_one
from automl_kd.data.fit import Fit
from automl_kd.spec import Interpolation, ResizeRule

CROP, PLACE, MIRROR = 21, 22, 23
"""The first word of each stream's key, apart from those of `views`, `augment` and the division."""

ATTEMPTS = 10
HALF = 32
"""Bits of a word that one number is drawn from."""


@dataclass(frozen=True)
class ViewPlan:
    """How an image becomes a view of `height` times `width` pixels.

    `kind`: "middle", cut out by `fit`, or "random-resized-crop". `interpolation`, `crop`, `resize`: as in `Fit`; crops
    use the first alone. `resized`: whether middles are scaled; otherwise images must have the size.
    `scale`: smallest and largest part of the image's area, in (0, 1]. `ratio`: smallest and largest width over height.
    `flip`: whether half of the random crops are mirrored.
    """

    height: int
    width: int
    kind: Literal["middle", "random-resized-crop"] = "middle"
    interpolation: Interpolation = "bilinear"
    crop: float = 1.0
    resize: ResizeRule = ""
    resized: bool = True
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = True

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"a view has at least one pixel, got {self.height}x{self.width}")
        if self.kind not in {"middle", "random-resized-crop"}:
            raise ValueError(f"kind must be middle or random-resized-crop, got {self.kind!r}")
        if self.kind == "middle" and self.resized and self.height != self.width:
            raise ValueError(f"the middle of a scaled image is a square, got {self.height}x{self.width}")
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale must be two numbers in (0, 1], the smaller one first, got {self.scale}")
        if not 0 < self.ratio[0] <= self.ratio[1] < math.inf:
            raise ValueError(f"ratio must be two positive numbers, the smaller one first, got {self.ratio}")

    @staticmethod
    def middle(size: tuple[int, int], fit: Fit) -> ViewPlan:
        """The views of `decode.decode` for images of `size` (height, width)."""
        return ViewPlan(*size, "middle", fit.interpolation, fit.crop, fit.resize, fit.size > 0)

    @property
    def fit(self) -> Fit:
        return Fit(self.height if self.resized else 0, self.crop, self.interpolation, self.resize)

    @property
    def random(self) -> bool:
        """Whether an image looks otherwise in another epoch."""
        return self.kind == "random-resized-crop"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> ViewPlan:
        return ViewPlan(**{**record, "scale": tuple(record["scale"]), "ratio": tuple(record["ratio"])})


class CropWindow(NamedTuple):
    """A part of an image in pixels, and whether it is mirrored."""

    left: int
    top: int
    width: int
    height: int
    mirror: bool

    @property
    def box(self) -> tuple[int, int, int, int]:
        return self.left, self.top, self.left + self.width, self.top + self.height


class EpochCrops:
    """The random resized crops of an epoch under `seed`."""

    def __init__(self, plan: ViewPlan, *, seed: int, epoch: int) -> None:
        self.plan = plan
        self.sizes = [key(CROP, seed, epoch, attempt) for attempt in range(ATTEMPTS)]
        self.places = [key(PLACE, seed, epoch, attempt) for attempt in range(ATTEMPTS)]
        self.mirror = key(MIRROR, seed, epoch)

    def window(self, index: int, width: int, height: int) -> CropWindow:
        """Of the image with this index, 0 or more, which has `width` times `height` pixels."""
        mirror = self.plan.flip and bool(halves(self.mirror, index)[1] >> (HALF - 1))
        low, high = (math.log(bound) for bound in self.plan.ratio)
        smallest, largest = self.plan.scale
        for attempt in range(ATTEMPTS):
            first, second = halves(self.sizes[attempt], index)
            area = width * height * (smallest + (largest - smallest) * first / 2**HALF)
            ratio = math.exp(low + (high - low) * second / 2**HALF)
            wide, tall = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < wide <= width and 0 < tall <= height:
                across, down = halves(self.places[attempt], index)
                left, top = (across * (width - wide + 1)) >> HALF, (down * (height - tall + 1)) >> HALF
                return CropWindow(left, top, wide, tall, mirror)
        wide, tall = largest_middle(width, height, self.plan.ratio)
        return CropWindow((width - wide) // 2, (height - tall) // 2, wide, tall, mirror)


def halves(stream: int, counter: int) -> tuple[int, int]:
    """The lower and the upper 32 bits of the word that `counter.draw_words` draws."""
    drawn = mix_one((stream + GOLDEN * (counter + 1)) & MASK)
    return drawn & (2**HALF - 1), drawn >> HALF


def largest_middle(width: int, height: int, ratio: tuple[float, float]) -> tuple[int, int]:
    """Width and height of the largest part of an image whose width over height lies in `ratio`."""
    narrowest, widest = ratio
    if width < height * narrowest:
        return width, min(height, max(1, round(width / narrowest)))
    if width > height * widest:
        return min(width, max(1, round(height * widest))), height
    return width, height
