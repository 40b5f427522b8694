"""Local search on a table: climb from neighbour to neighbour, and begin elsewhere at a local optimum.

White, Nolen, Savani. Exploring the Loss Landscape in Neural Architecture Search. 2020. arXiv:2005.02960. There all
neighbours are evaluated before the best is moved to (`first = false` here); moving to the first better one spends fewer
trials on each step. Neighbours are tried in random order, or by their score if proxies filter.
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

    def run(self, session: BatchedSession) -> None:
        centre = session.fresh()
        height = session.query(centre)
        while session.open and session.step < session.guidance.warm:
            rows = session.fresh()
            centre, height = move_to_better(
                centre, height, rows, session.query(rows), np.ones(len(rows), dtype=np.bool_)
            )
        while session.open:
            centre, height = climbed(session, centre, height)
            around = shuffled(session, session.bench.neighbours[centre])
            stuck = explored(session, around)
            beside = session.prefer(around, ~stuck)
            rows = np.where(stuck, session.fresh(stuck), beside) if stuck.any() else beside
            values = session.query(rows)
            height = np.where(stuck, -np.inf, height)
            centre, height = move_to_better(centre, height, rows, values, stuck | self.first)


def move_to_better(centre: Integers, height: Reals, rows: Integers, values: Reals, may: Mask) -> tuple[Integers, Reals]:
    """Stand on `rows` where they are higher and the seed may move."""
    better = may & (values > height)
    return np.where(better, rows, centre), np.where(better, values, height)


def climbed(session: BatchedSession, centre: Integers, height: Reals) -> tuple[Integers, Reals]:
    """Move up as far as neighbourhoods are known completely, which needs no trial."""
    while True:
        around = session.bench.neighbours[centre]
        values = np.where(explored(session, around)[:, None], session.bench.choose[-1][around], -np.inf)
        best = values.argmax(axis=1)
        rows, tops = around[session.lanes, best], values[session.lanes, best]
        if not (tops > height).any():
            return centre, height
        centre, height = move_to_better(centre, height, rows, tops, np.ones(len(rows), dtype=np.bool_))


def explored(session: BatchedSession, around: Integers) -> Mask:
    """Of each seed whether it knows all that is around it."""
    unknown = (~session.is_known(around)).sum(axis=1)
    nothing_left: Mask = unknown == 0
    return nothing_left


def shuffled(session: BatchedSession, around: Integers) -> Integers:
    order = np.argsort(session.uniform("order", around.shape[1]), axis=1)
    return np.take_along_axis(around, order, axis=1)
