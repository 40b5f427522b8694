"""The latency of a network on a device, predicted from its operators.

The times of operators that were measured alone, summed by kind, are weighted so that they add up to those of whole
networks, with a time for each operator and for each pass: non-negative least squares of relative errors. Weights are
drawn to 1, where operators take in a network what they take alone, as one more network that took so long would do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.optimize import nnls
from scipy.stats import rankdata

from automl_kd.profiling.operator_times import MeasuredTimes, NumberTable, OperatorTimes
from automl_kd.profiling.operators import Operator

PARTS_LEFT_OUT = 5
"""Parts of the measured networks, each of which is predicted from the others for `HeldOutError`."""


@dataclass(frozen=True)
class NetworkWeights:
    """`kinds`: the weight of the summed times of each kind of operator. `operator_ms`: added for each operator,
    `pass_ms`: for a pass.
    """

    kinds: Mapping[str, float]
    operator_ms: float
    pass_ms: float

    def combine(self, sums: Mapping[str, float], count: int) -> float:
        return (
            sum(self.kinds.get(kind, 1.0) * ms for kind, ms in sums.items()) + count * self.operator_ms + self.pass_ms
        )

    def to_record(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class HeldOutError:
    """Of `networks` that were predicted from others. Errors are fractions of the measured times.

    `spearman`: of predicted and measured times.
    """

    networks: int
    median_error: float
    largest_error: float
    spearman: float

    @staticmethod
    def of(predicted: MeasuredTimes, measured: MeasuredTimes) -> HeldOutError:
        errors = np.abs(predicted - measured) / measured
        return HeldOutError(
            len(measured), float(np.median(errors)), float(errors.max()), rank_correlation(predicted, measured)
        )


def rank_correlation(one: MeasuredTimes, other: MeasuredTimes) -> float:
    """Spearman's; 0 where all of either are equal."""
    ranks = np.stack([rankdata(one), rankdata(other)])
    ranks -= ranks.mean(axis=1, keepdims=True)
    size = np.sqrt((ranks**2).sum(axis=1)).prod()
    return float((ranks[0] * ranks[1]).sum() / size) if size else 0.0


def sum_by_kind(operators: Sequence[Operator], times: OperatorTimes) -> dict[str, float]:
    found: Counter[str] = Counter()
    for operator in operators:
        found[operator.kind] += times.time(operator)  # type: ignore[assignment]  # a counter adds any numbers
    return dict(found)


def fit_weights(kinds: Sequence[str], sums: NumberTable, measured: MeasuredTimes) -> NetworkWeights:
    """`sums`: (networks, kinds and a last column, how many operators). `measured`: milliseconds of the networks."""
    terms = np.concatenate([sums, np.ones((len(sums), 1))], axis=1) / measured[:, None]
    shares = np.diag(terms.mean(axis=0))  # rows that draw each weight to its expected value, by its share of the time
    expected = np.array([*[1.0] * len(kinds), 0.0, 0.0])
    rows = np.concatenate([terms, shares])
    found, _ = nnls(rows, np.concatenate([np.ones(len(terms)), shares @ expected]))
    return NetworkWeights(dict(zip(kinds, map(float, found[:-2]), strict=True)), float(found[-2]), float(found[-1]))


def fit_networks(
    networks: Sequence[Sequence[Operator]], measured: MeasuredTimes, times: OperatorTimes
) -> tuple[NetworkWeights, HeldOutError]:
    """The weights that fit all networks, and the error on those that a fit to the others did not see."""
    held = [sum_by_kind(operators, times) for operators in networks]
    kinds = sorted({kind for sums in held for kind in sums})
    rows = [
        [*(sums.get(kind, 0.0) for kind in kinds), float(len(operators))]
        for sums, operators in zip(held, networks, strict=True)
    ]
    sums = np.array(rows)
    predicted = np.zeros(len(measured))
    for part in range(min(PARTS_LEFT_OUT, len(measured))):
        out = np.arange(len(measured)) % PARTS_LEFT_OUT == part
        # of a single network, the expected weights
        fitted = fit_weights(kinds, sums[~out], measured[~out]) if not out.all() else NetworkWeights({}, 0.0, 0.0)
        predicted[out] = [fitted.combine(dict(zip(kinds, row, strict=False)), row[-1]) for row in sums[out]]
    return fit_weights(kinds, sums, measured), HeldOutError.of(predicted, measured)
