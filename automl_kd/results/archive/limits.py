"""What a student may cost, and how costs are named and written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from automl_kd.results import units
from automl_kd.results.quantity import QuantityUnit

CostName = Literal["params", "macs", "latency_ms", "size_mb"]
Costs = Mapping[CostName, float | None]
"""Of one student; None for what was not measured."""

BYTES_PER_PARAM = 4
"""A student is handed on in float32."""


def megabytes_of(params: float | None) -> float | None:
    """Megabytes, of 1,000,000 bytes, of so many parameters in float32."""
    return None if params is None else BYTES_PER_PARAM * params / 1e6


def format_size(value: float | None) -> str:
    return units.MISSING if value is None else f"{value:.3g}"


class CostMeasure(NamedTuple):
    """`title`: of a column, with its unit. `suffix`: what stands behind a value in a sentence. `option`: its limit."""

    title: str
    suffix: str
    option: str
    unit: QuantityUnit
    write: Callable[[float | None], str]

    def say(self, value: float | None) -> str:
        """A value for a sentence, as "271 k parameters"."""
        return f"{self.write(value)} {self.suffix}"


COST_MEASURES: Mapping[CostName, CostMeasure] = {
    "params": CostMeasure("parameters", "parameters", "--max-params", "params", units.format_count),
    "macs": CostMeasure("MACs", "MACs", "--max-macs", "macs", units.format_count),
    "latency_ms": CostMeasure("latency, ms", "ms", "--max-latency", "ms", units.milliseconds),
    "size_mb": CostMeasure("size, MB", "MB", "--max-size", "MB", format_size),
}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a student may cost at most; None sets no limit. `latency_ms` is that of one device."""

    params: float | None = None
    macs: float | None = None
    latency_ms: float | None = None
    size_mb: float | None = None

    @property
    def given(self) -> dict[CostName, float]:
        """Those that are set, by what they limit."""
        found: dict[CostName, float | None] = {name: getattr(self, name) for name in COST_MEASURES}
        return {name: value for name, value in found.items() if value is not None}

    @property
    def main_cost(self) -> CostName:
        """By what "smallest" is meant: the first limited cost, parameters if there is none."""
        return next(iter(self.given), "params")

    def are_kept_by(self, costs: Costs) -> bool:
        """Whether a student with these costs keeps all limits; one whose cost is not known does not."""
        for name, limit in self.given.items():
            cost = costs[name]
            if cost is None or cost > limit:
                return False
        return True

    def __str__(self) -> str:
        *first, last = [f"at most {COST_MEASURES[name].say(value)}" for name, value in self.given.items()] or [
            "any cost"
        ]
        return f"{', '.join(first)} and {last}" if first else last
