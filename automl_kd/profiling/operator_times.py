"""How long an operator takes on a device, from those of its kind that were measured there.

One that was measured takes what was measured. For another, a time that grows with what it reads, writes, learns and
multiplies is fitted to all of its kind (non-negative least squares of relative errors), and corrected by how far the
measured ones most like it are off that: a mean of the logarithms by kernel (Nadaraya. 1964. doi:10.1137/1109020).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64
from scipy.optimize import nnls

from automl_kd.errors import ConfigError
from automl_kd.profiling.operators import Operator

MeasuredTimes = Float64[np.ndarray, " n"]
NumberTable = Float64[np.ndarray, "n m"]

LARGEST_FACTOR = 4.0
"""An operator that multiplies or writes more than so many times as much as the largest measured of its kind is like
none of them."""

STANDARD = 0.2
"""How many like operators the fit of a kind stands for, beside those that correct it."""

BLOCK = 16
"""Channels that are computed together: whether a number of them is a multiple of this makes operators alike."""


def size_terms(operator: Operator) -> list[float]:
    """What a time grows with."""
    return [1.0, operator.macs, operator.entering, operator.leaving, operator.weights]


def likeness_terms(operator: Operator) -> list[float]:
    """Places whose distance says how alike two operators are: one for a doubling of a size, or for another form."""
    sizes = (operator.entering, operator.leaving, operator.macs, operator.weights, operator.kernel**2)
    channels = [shape[1] for shape in (*operator.inputs, operator.output) if len(shape) == 4]
    forms = (
        operator.stride,
        int(operator.residual),
        int(bool(operator.activation)),
        int(operator.activation == "hardswish"),
        *(int(any(one % block for one in channels)) for block in (BLOCK, BLOCK // 2)),
    )
    return [*(float(np.log2(1 + one)) for one in sizes), *map(float, forms)]


@dataclass(eq=False)
class KindTimes:
    """The measured operators of a kind. `scale`: milliseconds for each of `size_terms`. `off`: logarithms."""

    scale: MeasuredTimes
    places: NumberTable
    off: MeasuredTimes
    largest_macs: int
    largest_leaving: int

    @staticmethod
    def fit(operators: Sequence[Operator], times: MeasuredTimes) -> KindTimes:
        terms = np.array([size_terms(one) for one in operators], dtype=np.float64)
        unit = np.maximum(terms.max(axis=0), 1.0)
        scale, _ = nnls(terms / unit / times[:, None], np.ones(len(times)))
        scale = scale / unit
        return KindTimes(
            scale=scale,
            places=np.array([likeness_terms(one) for one in operators]),
            off=np.log(times / np.maximum(terms @ scale, 1e-9)),
            largest_macs=max(one.macs for one in operators),
            largest_leaving=max(one.leaving for one in operators),
        )

    def holds_like(self, operator: Operator) -> bool:
        return (
            operator.macs <= LARGEST_FACTOR * self.largest_macs
            and operator.leaving <= LARGEST_FACTOR * self.largest_leaving
        )

    def estimate(self, operator: Operator) -> float:
        expected = float(np.array(size_terms(operator)) @ self.scale)
        distances = ((self.places - np.array(likeness_terms(operator))) ** 2).sum(axis=1)
        nearness = np.exp(-distances / 2)
        return max(expected, 1e-9) * float(np.exp(nearness @ self.off / (nearness.sum() + STANDARD)))


@dataclass(eq=False)
class OperatorTimes:
    """`measured`: milliseconds of operators, as they were measured alone. `device`: for messages."""

    measured: Mapping[Operator, float]
    device: str
    kinds: dict[str, KindTimes] = field(default_factory=dict)
    known: dict[Operator, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        grouped: dict[str, list[Operator]] = defaultdict(list)
        for operator in sorted(self.measured):
            grouped[operator.kind].append(operator)
        for kind, held in grouped.items():
            self.kinds[kind] = KindTimes.fit(held, np.array([self.measured[one] for one in held]))
        self.known.update(self.measured)

    def time(self, operator: Operator) -> float:
        """Milliseconds; `ConfigError` where nothing like it was measured."""
        if operator not in self.known:
            held = self.kinds.get(operator.kind)
            if held is None or not held.holds_like(operator):
                sizes = "x".join(map(str, operator.output))
                missing = "of the kind" if held is None else f"a quarter as large ({sizes} numbers put out)"
                raise ConfigError(
                    f"the profile of {self.device} holds no operator {missing}, for a layer {operator.kind!r}; "
                    "make a profile of this space, and resolution or length, by automl-kd profile"
                )
            self.known[operator] = held.estimate(operator)
        return self.known[operator]
