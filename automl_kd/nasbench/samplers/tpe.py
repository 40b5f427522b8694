"""TPE on a table: the tree-structured Parzen estimator over operations on edges, for all seeds at once.

Bergstra, Bardenet, Bengio, Kégl. Algorithms for Hyper-Parameter Optimization. Advances in Neural Information Processing
Systems 24, 2011, section 4. Optuna's sampler, the TPE of `automl_kd.samplers`, serves one study at a time; this one has
the same densities, in closed form for categorical parameters: mixtures of products of smoothed kernels, one for each
trial and a uniform one, the older of many trials counting less. It agrees with Optuna's in what it proposes after the
same outcomes, but for the order of its random numbers (tested). As there, the `candidates` draws come from the density
of good points and the highest ratio of densities wins; asked for several, as many of the highest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from automl_kd.nasbench.samplers.batched_session import BatchedSession
from automl_kd.nasbench.samplers.draws import Integers, Reals
from automl_kd.spec import require

FLAT = 25
"""So many of the latest trials count in full (Optuna's default weights)."""

GOOD_SHARE, GOOD_MOST = 0.1, 25


@dataclass(frozen=True, kw_only=True)
class BatchedTPE:
    """Ratio of densities of good and other points (Bergstra et al. 2011).

    `startup`: random trials before; `candidates`: draws from the density of good points, at least 1.
    """

    startup: int = 10
    candidates: int = 24

    def __post_init__(self) -> None:
        require(min(self.startup, self.candidates) >= 1, "startup and candidates must be 1 or more")

    def run(self, session: BatchedSession) -> None:
        rows = np.zeros((len(session.lanes), session.queries), dtype=np.int64)
        values = np.zeros(rows.shape)
        while session.open:
            step = session.step
            early = step < max(self.startup, session.guidance.warm)
            rows[:, step] = session.fresh() if early else session.prefer(self.candidates_of(session, rows, values))
            values[:, step] = session.query(rows[:, step])

    def candidates_of(self, session: BatchedSession, rows: Integers, values: Reals) -> Integers:
        """The draws with the highest ratio, best first, as many as the session wants (seeds, width)."""
        below, above = split_trials(session.bench.encodings[rows[:, : session.step]], values[:, : session.step])
        drawn = draw_cells(session, below, max(self.candidates, 4 * session.guidance.pool))
        ratio = log_density(drawn, below, session) - log_density(drawn, above, session)
        best = np.argsort(-ratio, axis=1, kind="stable")[:, : session.width]
        return session.bench.find(drawn[session.lanes[:, None], best])


def split_trials(encoded: NDArray[np.uint8], values: Reals) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The good trials of each seed and the others, each in order of time, as their weights go by age."""
    order = np.argsort(-values, axis=1, kind="stable")
    good = min(math.ceil(GOOD_SHARE * values.shape[1]), GOOD_MOST)
    lanes = np.arange(len(values))[:, None]
    return encoded[lanes, np.sort(order[:, :good], axis=1)], encoded[lanes, np.sort(order[:, good:], axis=1)]


def mixture(count: int, operations: int) -> tuple[Reals, float, float]:
    """Weights of `count` trials and the uniform kernel last; probability of a trial's own operation, and of another."""
    ramp = np.linspace(1 / count, 1, num=max(count - FLAT, 0)) if count else np.zeros(0)
    weights = np.concatenate([ramp, np.ones(min(count, FLAT)), np.ones(1)])
    prior = 1 / (count + 1)
    total = 1 + operations * prior
    return weights / weights.sum(), (1 + prior) / total, prior / total


def draw_cells(session: BatchedSession, encoded: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Draws from the density of the points `encoded` (seeds, points, edges): (seeds, count, edges)."""
    seeds, points, edges = encoded.shape
    operations = session.bench.operations
    weights, own, other = mixture(points, operations)
    kernel = np.searchsorted(np.cumsum(weights)[:-1], session.uniform("kernel", count), side="right")
    uniform = session.integers("operations", operations, count * edges).reshape(seeds, count, edges)
    # A kernel of a trial keeps the trial's operation with probability own - other, and is uniform otherwise.
    kept = session.uniform("kept", count * edges).reshape(seeds, count, edges) < own - other
    kept &= (kernel < points)[:, :, None]
    trial = encoded[session.lanes[:, None], np.minimum(kernel, points - 1)]
    return np.where(kept, trial, uniform).astype(np.uint8)


def log_density(drawn: NDArray[np.uint8], encoded: NDArray[np.uint8], session: BatchedSession) -> Reals:
    """Of the draws (seeds, draws, edges) under the mixture of the points (seeds, points, edges)."""
    edges, operations = drawn.shape[2], session.bench.operations
    weights, own, other = mixture(encoded.shape[1], operations)
    matches = one_hot(drawn, operations) @ one_hot(encoded, operations).transpose(0, 2, 1)
    # own**m * other**(edges - m) for m matches.
    by_matches = (own ** np.arange(edges + 1) * other ** np.arange(edges, -1, -1)).astype(np.float32)
    kernels = by_matches[matches.astype(np.int8)] @ weights[:-1].astype(np.float32)
    density: Reals = np.log(kernels + np.float32(weights[-1] / operations**edges))
    return density


def one_hot(encoded: NDArray[np.uint8], operations: int) -> NDArray[np.float32]:
    """Shape (..., edges) to (..., edges * operations)."""
    table = np.eye(operations, dtype=np.float32)
    return table[encoded].reshape(*encoded.shape[:-1], -1)
