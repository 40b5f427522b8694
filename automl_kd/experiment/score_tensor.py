"""Scores on their way to a table: as records on disk, and as a tensor by proxy, repeat and architecture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from automl_kd.errors import ResultError
from automl_kd.models.costs.cost import NetworkCost
from automl_kd.proxies.aggregate import Aggregate
from automl_kd.proxies.scorer import Readings


def flattened(first: int, read: Sequence[Readings]) -> list[dict[str, object]]:
    """The records of a batch whose first function has this number."""
    return [
        {
            "function": number,
            "draw": draw,
            "proxy": proxy,
            "value": None if one.error else one.value,
            "seconds": one.seconds,
            "error": one.error or None,
        }
        for number, draws in enumerate(read, first)
        for draw, readings_of in enumerate(draws)
        for proxy, one in readings_of.items()
    ]


@dataclass(frozen=True, eq=False)
class ScoreTensor:
    """Values and seconds by proxy, each (repeats, architectures); nan for errors, the first of which is in `errors`."""

    values: dict[str, np.ndarray]
    seconds: dict[str, np.ndarray]
    errors: dict[str, np.ndarray]

    @staticmethod
    def of(frame: pd.DataFrame, functions: int, draws: int, place: np.ndarray) -> ScoreTensor:
        """Give the scores of each function to all architectures that compute it."""
        cube = ScoreTensor({}, {}, {})
        for name, ours in frame.groupby("proxy", observed=True):
            where = ours["draw"].to_numpy(), ours["function"].to_numpy()
            values, seconds = np.full((draws, functions), np.nan), np.zeros((draws, functions))
            errors = np.full((draws, functions), None, dtype=object)
            if len(ours) != draws * functions:
                raise ResultError(f"{len(ours)} of {draws * functions} scores of {name!r} are there; delete the parts")
            values[where], seconds[where], errors[where] = ours["value"], ours["seconds"], ours["error"]
            first = [next((error for error in column if isinstance(error, str)), None) for column in errors.T]
            cube.values[str(name)], cube.seconds[str(name)] = values[:, place], seconds[:, place]
            cube.errors[str(name)] = np.array(first, dtype=object)[place]
        return cube

    def count(
        self, name: str, measure: Callable[[NetworkCost], float], costs: Sequence[NetworkCost], draws: int
    ) -> None:
        """Add a proxy that is a function of costs."""
        self.values[name] = np.tile([measure(cost) for cost in costs], (draws, 1))
        self.seconds[name] = np.zeros((draws, len(costs)))
        self.errors[name] = np.full(len(costs), None, dtype=object)

    def aggregate(self, name: str, aggregate: Aggregate) -> None:
        members = aggregate.members
        errors = [
            next((error for error in row if error), None) for row in zip(*map(self.errors.get, members), strict=True)
        ]
        failed = np.array([error is not None for error in errors])
        stacked = np.where(failed, np.nan, np.stack([self.values[one] for one in members]))
        self.values[name] = np.stack([aggregate.combine(stacked[:, draw]) for draw in range(stacked.shape[1])])
        self.seconds[name] = sum((self.seconds[one] for one in members), np.zeros(stacked.shape[1:]))
        self.errors[name] = np.array(errors, dtype=object)
