"""tmp"""

from __future__ import annotations

from dataclasses import dataclass

from automl_kd.data.fit import Fit, Size


@dataclass(frozen=True)
class RandomCrop:
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (0.75, 4 / 3)


@dataclass(frozen=True)
class ViewPlan:
    fit: Fit
    size: Size
    crop: RandomCrop | None = None

    @staticmethod
    def middle(fit: Fit, size: Size) -> ViewPlan:
        return ViewPlan(fit, size)

    @staticmethod
    def random(crop: RandomCrop, fit: Fit, size: Size) -> ViewPlan:
        return ViewPlan(fit, size, crop)
