"""A range of numbers, as experiments write it."""

from __future__ import annotations

from dataclasses import dataclass

from automl_kd.spec import require


@dataclass(frozen=True, kw_only=True)
class Range:
    """Numbers from `low` to `high`, both included, with `low < high`.

    `low` (any), `high` (any): the ends. `step` (1 or more): between numbers, which are whole if both ends are written
    without a point and `log` is not set; else they are real. `log`: uniform in their logarithm.
    """

    low: int | float
    high: int | float
    step: int = 1
    log: bool = False

    def __post_init__(self) -> None:
        require(self.low < self.high, f"low must lie below high, got {self.low} and {self.high}")
        require(not self.log or self.low > 0, f"a logarithmic range must begin above 0, got {self.low}")
        require(self.step >= 1, f"step must be 1 or more, got {self.step}")
        require(self.whole or self.step == 1, "step is for whole numbers; drop it or log, or write whole ends")

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int) and not self.log
