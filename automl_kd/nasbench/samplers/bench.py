"""What a search on a table may know: the space, what is measured for choosing, and what a measurement costs.

Plain arrays with one entry for each architecture of the space. The accuracy that is reported on is not among them, so
no search can follow it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from automl_kd.nasbench.samplers.draws import Integers, Reals


@dataclass(frozen=True, eq=False, kw_only=True)
class Bench:
    """A space of n architectures with their measurements.

    `encodings` (n, edges): one of `operations` numbers for each edge; every combination occurs once.
    `neighbours` (n, k): the architectures that differ in one edge.
    `choose`: accuracies to choose by, from the shortest training to the longest; higher is better, no NaN.
    `seconds`: of these trainings. `latency`: to be minimised too, where a search has two objectives; NaN if an
    architecture does not run.
    """

    encodings: NDArray[np.uint8]
    neighbours: Integers
    choose: tuple[Reals, ...]
    seconds: tuple[Reals, ...]
    latency: Reals | None = None

    def __post_init__(self) -> None:
        columns = (*self.choose, *self.seconds)
        sizes = {len(self.encodings), len(self.neighbours), *map(len, columns)}
        if len(sizes) != 1 or not self.choose or len(self.choose) != len(self.seconds):
            raise ValueError(f"a bench needs columns of one length, and seconds for each accuracy; got lengths {sizes}")
        if self.operations ** self.encodings.shape[1] != len(self):
            raise ValueError(f"{len(self)} architectures are not all of {self.operations} operations on each edge")

    def __len__(self) -> int:
        return len(self.encodings)

    @property
    def last(self) -> int:
        """The place of the longest training."""
        return len(self.choose) - 1

    @cached_property
    def operations(self) -> int:
        return int(self.encodings.max()) + 1

    @cached_property
    def weights(self) -> Integers:
        """What each edge counts in the number of a combination."""
        found: Integers = self.operations ** np.arange(self.encodings.shape[1], dtype=np.int64)
        return found

    @cached_property
    def places(self) -> Integers:
        """The architecture of each combination's number."""
        places = np.empty(len(self), dtype=np.int64)
        places[self.encodings @ self.weights] = np.arange(len(self))
        return places

    def find(self, encodings: NDArray[np.integer]) -> Integers:
        """The architectures with these operations; the last axis of `encodings` is the edges."""
        found: Integers = self.places[encodings.astype(np.int64) @ self.weights]
        return found

    @cached_property
    def losses(self) -> Reals:
        """Error by the longest training and latency, (n, 2), both minimised.

        What does not run on the device is as slow as twice the slowest that does.
        """
        if self.latency is None:
            raise ValueError("this bench has no latency; give it one for a search with two objectives")
        latency = np.where(np.isnan(self.latency), 2 * np.nanmax(self.latency), self.latency)
        return np.stack([-self.choose[-1], latency], axis=1)
