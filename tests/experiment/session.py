"""A search carried out in this process, in an order of our choice and broken off where we like: the runner of Ray Tune,
as far as a search can tell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from automl_kd.cluster.failures import failure_kind_of
from automl_kd.cluster.last_epoch import complete_report
from automl_kd.cluster.tune_searcher import Assignment, Failure, Later, Live, outcome_of, own_metrics
from automl_kd.errors import StopTrial
from automl_kd.methods import run_trial


class Broken(BaseException):
    """What ends a sitting as a kill would."""


def carry_through(sitting: Any, *, at_once: int = 1, last_first: bool = False, break_at: int = 0) -> int:
    """Assign and train until there is no more; how many trials were assigned.

    `at_once`: so many are assigned before the first, or with `last_first` the last, of them is trained. `break_at`:
    the sitting ends with `Broken` when so many were trained.
    """
    held: list[Assignment] = []
    asked = trained = 0
    while True:
        while len(held) < at_once:
            given = sitting.ask(asked)
            if not isinstance(given, Assignment):
                break
            held.append(given)
            asked += 1
        if not held:
            assert not isinstance(given, Later), "everything has ended and more is to come later"
            return asked
        one = held.pop(-1 if last_first else 0)
        live = train(one, sitting.on_epoch)
        sitting.on_outcome(one.spec, outcome_of(live), live.curve)
        trained += 1
        if trained == break_at:
            raise Broken


def train(one: Assignment, on_epoch: Callable[..., None]) -> Live:
    live = Live(one, failure=one.failure)

    def record(metrics: Mapping[str, float], epoch: int) -> None:
        live.curve[epoch] = dict(metrics)
        on_epoch(one.spec, metrics, epoch)
        if epoch == one.until:
            raise StopTrial

    def report(metrics: Mapping[str, float], *, epoch: int) -> None:
        whole = complete_report(one, metrics, epoch)
        live.note, live.remark = whole.get("note", ""), whole.get("remark", "")
        record(own_metrics(whole), epoch)

    try:
        if one.replay is None:
            run_trial(one.spec, report, one.paths)
        for epoch, metrics in enumerate(one.replay or (), start=1):
            record(metrics, epoch)
    except StopTrial:
        pass
    except Exception as error:  # as the runner does
        live.failure = Failure(f"{type(error).__name__}: {error}", failure_kind_of(error))
    return live
