"""Order among points with several objectives, all of them minimised.

Deb, Pratap, Agarwal, Meyarivan. A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II. IEEE Transactions on
Evolutionary Computation 6(2), 2002, doi:10.1109/4235.996017, section III.

A point dominates another if it is nowhere worse and somewhere better; equal points do not dominate each other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ObjectivePoints = NDArray[np.float64]
"""(n, m): n points with m objectives each."""


def non_dominated_ranks(points: ObjectivePoints) -> NDArray[np.int64]:
    """The front to which each of the (n, m) points belongs, 0 for the best: fast-non-dominated-sort, section III-A.

    Time and memory grow with n squared. `ValueError` if a point is not a number.
    """
    require_numbers(points)
    one, other = points[:, None], points[None, :]
    dominates = np.logical_and((one <= other).all(axis=2), (one < other).any(axis=2))
    n_p = dominates.sum(axis=0)  # as in the paper: by how many points each p is dominated
    ranks = np.full(len(points), -1, dtype=np.int64)
    rank = 0
    while (ranks < 0).any():
        front = (n_p == 0) & (ranks < 0)
        ranks[front] = rank
        n_p = n_p - dominates[front].sum(axis=0)
        rank += 1
    return ranks


def crowding_distance(points: ObjectivePoints) -> NDArray[np.float64]:
    """How empty the surroundings of each of the (n, m) finite points of one front are; infinity at its ends.

    The distance between a point's two neighbours, summed over objectives that are scaled to [0, 1] within the front:
    crowding-distance-assignment, section III-B. Unlike there, an objective that is the same for all points adds nothing
    anywhere, since it has no ends.
    """
    distance = np.zeros(len(points))
    for values in points.T:
        order = np.argsort(values, kind="stable")
        spread = values[order[-1]] - values[order[0]] if len(order) else 0.0
        if spread > 0:
            distance[order[1:-1]] += (values[order[2:]] - values[order[:-2]]) / spread
            distance[order[[0, -1]]] = np.inf
    return distance


def require_numbers(points: ObjectivePoints) -> None:
    if points.ndim != 2 or np.isnan(points).any():
        raise ValueError(f"points must be numbers of shape (n, m), got shape {points.shape} or a nan among them")
