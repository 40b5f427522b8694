"""Local search on a table: climb from neighbour to neighbour, and begin elsewhere at a local optimum.

White, Nolen, Savani. Exploring the Loss Landscape in Neural Architecture Search. 2020. arXiv:2005.02960. There all
neighbours are evaluated before the best is moved to (`first = false` here); moving to the first better one spends fewer
questions on each step. Neighbours are tried in random order, or by their score if the search is screened.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from automl_kd.nasbench.samplers.batched_session import BatchedSession, Mask
from automl_kd.nasbench.samplers.draws import Integers, Reals


@dataclass(frozen=True, kw_only=True)
class BatchedLocalSearch:
    """Neighbours of where it stands (White, Nolen, Savani 2020, arXiv:2005.02960).

    `first`: move to the first neighbour that is better, not to the best of all.
    """

    first: bool = True

    def run(self, desk: BatchedSession) -> None:
        centre = desk.fresh()
        height = desk.query(centre)
        while desk.open and desk.step < desk.guide.warm:
            rows = desk.fresh()
            centre, height = move_to_better(centre, height, rows, desk.query(rows), np.ones(len(rows), dtype=np.bool_))
        while desk.open:
            centre, height = climbed(desk, centre, height)
            around = shuffled(desk, desk.bench.neighbours[centre])
            stuck = explored(desk, around)
            beside = desk.prefer(around, ~stuck)
            rows = np.where(stuck, desk.fresh(stuck), beside) if stuck.any() else beside
            values = desk.query(rows)
            height = np.where(stuck, -np.inf, height)
            centre, height = move_to_better(centre, height, rows, values, stuck | self.first)


def move_to_better(centre: Integers, height: Reals, rows: Integers, values: Reals, may: Mask) -> tuple[Integers, Reals]:
    """Stand on `rows` where they are higher and the seed may move."""
    better = may & (values > height)
    return np.where(better, rows, centre), np.where(better, values, height)


def climbed(desk: BatchedSession, centre: Integers, height: Reals) -> tuple[Integers, Reals]:
    """Move up as far as neighbourhoods are known completely, which needs no question."""
    while True:
        around = desk.bench.neighbours[centre]
        values = np.where(explored(desk, around)[:, None], desk.bench.choose[-1][around], -np.inf)
        best = values.argmax(axis=1)
        rows, tops = around[desk.lanes, best], values[desk.lanes, best]
        if not (tops > height).any():
            return centre, height
        centre, height = move_to_better(centre, height, rows, tops, np.ones(len(rows), dtype=np.bool_))


def explored(desk: BatchedSession, around: Integers) -> Mask:
    """Of each seed whether it knows all that is around it."""
    unknown = (~desk.is_known(around)).sum(axis=1)
    nothing_left: Mask = unknown == 0
    return nothing_left


def shuffled(desk: BatchedSession, around: Integers) -> Integers:
    order = np.argsort(desk.uniform("order", around.shape[1]), axis=1)
    return np.take_along_axis(around, order, axis=1)
