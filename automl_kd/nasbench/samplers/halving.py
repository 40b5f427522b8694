"""Short trainings first: successive halving and ASHA on a table, with two lengths of training.

Jamieson, Talwalkar. Non-stochastic Best Arm Identification and Hyperparameter Optimization. 2015. arXiv:1502.07943.
Li et al. A System for Massively Parallel Hyperparameter Tuning. 2018. arXiv:1810.05934, algorithm 2 (ASHA), with one
worker. Short and long trainings are separate runs with learning-rate schedules of their own in NAS-Bench-201, so a
promoted architecture is trained from the start, and both are paid for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from automl_kd.errors import ConfigError
from automl_kd.nasbench.samplers.batched_session import BatchedSession
from automl_kd.spec import require


@dataclass(frozen=True, kw_only=True)
class Halving:
    """Brackets of `width` short trainings, of which one in `reduction` gets a long one (arXiv:1502.07943)."""

    width: int = 32
    reduction: int = 4

    def __post_init__(self) -> None:
        require(2 <= self.reduction <= self.width, "reduction must lie in 2 to the width of a bracket")

    def run(self, session: BatchedSession) -> None:
        require_two(session)
        bracket = np.zeros((len(session.lanes), self.width), dtype=np.int64)
        low = np.zeros(bracket.shape)
        while session.open:
            for place in range(self.width):
                if session.open:
                    bracket[:, place] = session.fresh()
                    low[:, place] = session.query(bracket[:, place], rung(session, 0))
            best = np.take_along_axis(bracket, np.argsort(-low, axis=1, kind="stable"), axis=1)
            for place in range(self.width // self.reduction):
                if session.open:
                    session.query(best[:, place])


@dataclass(frozen=True, kw_only=True)
class Asha:
    """A long training as soon as one is among the best 1 / `reduction` of the short ones (arXiv:1810.05934)."""

    reduction: int = 4

    def __post_init__(self) -> None:
        require(self.reduction >= 2, "reduction must be 2 or more")

    def run(self, session: BatchedSession) -> None:
        require_two(session)
        shape = (len(session.lanes), session.queries)
        waiting, low = np.full(shape, -np.inf), np.full(shape, -np.inf)
        started = np.zeros(shape, dtype=np.int64)
        count = np.zeros(len(session.lanes), dtype=np.int64)
        while session.open:
            filled = slice(0, session.step + 1)
            place = waiting[:, filled].argmax(axis=1)
            value = waiting[session.lanes, place]
            above = (low[:, filled] > value[:, None]).sum(axis=1)
            # The best that waits is the only one that can be due.
            due = (value > -np.inf) & (above < count // self.reduction)
            rows = np.where(due, started[session.lanes, place], session.fresh(~due))
            answers = session.query(rows, due.astype(np.int8) * np.int8(session.bench.last))
            waiting[session.lanes[due], place[due]] = -np.inf
            new = session.lanes[~due]
            started[new, count[new]] = rows[new]
            low[new, count[new]] = waiting[new, count[new]] = answers[new]
            count[new] += 1


def require_two(session: BatchedSession) -> None:
    if len(session.bench.choose) != 2:
        raise ConfigError("successive halving needs a short training beside the long one; name the task's early column")


def rung(session: BatchedSession, number: int) -> NDArray[np.int8]:
    return np.full(len(session.lanes), number, dtype=np.int8)
