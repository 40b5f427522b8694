"""The choice among the students of an archive for a budget: on validation, and on nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from automl_kd.errors import ResultError
from automl_kd.results.archive.archive import Archive
from automl_kd.results.archive.limits import COST_MEASURES, CostName, Limits
from automl_kd.results.archive.students import ScoredStudent, TrainedStudent
from automl_kd.results.units import some

MissingReason = Literal["none-trained", "trained-short", "short-is-better", "scored-is-better"]


@dataclass(frozen=True)
class MissingTraining:
    """A training that the archive lacks: of `student`, in full, because of `reason`.

    "none-trained": only scored students keep the limits. "trained-short": no student that keeps them was trained in
    full. "short-is-better": one that was not has done better so far. "scored-is-better": by proxies, one is ahead that
    was never trained.
    """

    student: TrainedStudent | ScoredStudent
    reason: MissingReason


@dataclass(frozen=True, kw_only=True)
class StudentChoice:
    """What an archive answers for a budget.

    `best`: the student that keeps the limits with the best accuracy on validation, of those trained longest; None if
    only scored ones keep them. `smallest`: the one of least `cost` within one standard error of it. `peers`: all whose
    training compares with the best one's, whatever they cost; `front`: those of them that no cheaper one equals.
    `shown`: all that keep the limits, best first. `missing`: what training would tell more, if any.
    """

    archive: Archive
    limits: Limits
    cost: CostName
    best: TrainedStudent | None
    smallest: TrainedStudent | None
    peers: tuple[TrainedStudent, ...]
    front: tuple[TrainedStudent, ...]
    shown: tuple[TrainedStudent, ...]
    missing: MissingTraining | None


def choose_student(archive: Archive, limits: Limits) -> StudentChoice:
    """`ResultError` if no student keeps the limits, or if what they limit was never measured."""
    require_measured_cost(archive, limits)
    students = rank_students_of(archive.trained)
    shown = tuple(one for one in students if limits.are_kept_by(one.costs.by_name))
    scored = best_scored(archive, limits)
    if not shown and scored is None:
        raise ResultError(explain_none(archive, limits))
    best = shown[0] if shown else None
    peers = tuple(one for one in students if one.standing == (best or students[0]).standing) if students else ()
    return StudentChoice(
        archive=archive,
        limits=limits,
        cost=limits.main_cost,
        best=best,
        smallest=best and smallest_within_error(best, shown, limits.main_cost),
        peers=peers,
        front=find_front(peers, limits.main_cost),
        shown=shown,
        missing=find_missing(best, shown, scored, {one.identity for one in archive.trained}),
    )


def rank_students_of(trained: Iterable[TrainedStudent]) -> list[TrainedStudent]:
    """Longest training first, then best on validation, then fewest parameters; each student by each method once."""
    ordered = sorted(trained, key=lambda one: (one.standing, one.val_accuracy, -(one.costs.params or 0)), reverse=True)
    first: dict[tuple[Any, ...], TrainedStudent] = {}
    for one in ordered:
        first.setdefault((one.identity, one.method, one.options_json, one.init), one)
    return list(first.values())


def smallest_within_error(best: TrainedStudent, shown: Sequence[TrainedStudent], cost: CostName) -> TrainedStudent:
    """The one of least cost whose accuracy is that of `best` less its standard error, or more."""
    floor = best.val_accuracy - best.standard_error
    near = [one for one in shown if one.standing == best.standing and one.val_accuracy >= floor]
    return min(near, key=lambda one: (known_cost(one, cost), -one.val_accuracy))


def find_front(students: Iterable[TrainedStudent], cost: CostName) -> tuple[TrainedStudent, ...]:
    """Those that no other one of at most their cost equals in accuracy, from the cheapest on."""
    front: list[TrainedStudent] = []
    for one in sorted(students, key=lambda one: (known_cost(one, cost), -one.val_accuracy)):
        if np.isfinite(known_cost(one, cost)) and (not front or one.val_accuracy > front[-1].val_accuracy):
            front.append(one)
    return tuple(front)


def known_cost(student: TrainedStudent, cost: CostName) -> float:
    """Infinite for what was not measured."""
    value = student.costs.by_name[cost]
    return float("inf") if value is None else value


def best_scored(archive: Archive, limits: Limits) -> ScoredStudent | None:
    found = [one for scored in archive.scored if (one := scored.best_within(limits, archive.latencies))]
    return min(found, key=lambda one: one.rank, default=None)


def find_missing(
    best: TrainedStudent | None,
    shown: Sequence[TrainedStudent],
    scored: ScoredStudent | None,
    trained: set[tuple[str, str]],
) -> MissingTraining | None:
    """The training that would tell most, if there is one."""
    if best is None:
        return None if scored is None else MissingTraining(scored, "none-trained")
    if not best.full:
        return MissingTraining(best, "trained-short")
    short = max((one for one in shown if not one.full), key=lambda one: one.val_accuracy, default=None)
    if short is not None and short.val_accuracy > best.val_accuracy and short.identity != best.identity:
        return MissingTraining(short, "short-is-better")
    if scored is not None and scored.identity not in trained:
        return MissingTraining(scored, "scored-is-better")
    return None


def require_measured_cost(archive: Archive, limits: Limits) -> None:
    """Refuse a limit on what no student has, and one on latencies of several devices, which do not compare."""
    if limits.latency_ms is not None and len(archive.devices) > 1:
        names = " and ".join(map(repr, archive.devices))
        raise ResultError(
            f"latencies were measured on {names}, which do not compare; say whose counts with --device and a part of "
            "its name"
        )
    for name in limits.given:
        if not least_costs(archive, name):
            measure = COST_MEASURES[name]
            raise ResultError(
                f"no student of {folders_in_words(archive)} has a measured {measure.title.split(',')[0]}, so "
                f"{measure.option} cannot be answered; limit params or macs instead"
            )


def explain_none(archive: Archive, limits: Limits) -> str:
    """That no student keeps the limits, and the least that there is."""
    least = {name: min(least_costs(archive, name)) for name in limits.given}
    broken = [name for name, value in least.items() if value > limits.given[name]]
    counted = f"{some(len(archive.trained), 'trained student')} and {archive.scored_count:,} scored"
    text = f"no student of {folders_in_words(archive)} ({counted}) has {limits}"
    if not broken:
        return f"{text}: each of these is kept by some, all together by none; raise one of them, or search again"
    has = " and ".join(f"the least is {COST_MEASURES[name].say(least[name])}" for name in broken)
    return f"{text}: {has}; raise the limit, or search again under a budget"


def least_costs(archive: Archive, name: CostName) -> list[float]:
    """The cost of every trained student, and the least of each table of scores; only what is known."""
    found = [value for one in archive.trained if (value := one.costs.by_name[name]) is not None]
    columns = [scored.costs(archive.latencies)[name] for scored in archive.scored]
    return [*found, *(float(np.nanmin(column)) for column in columns if not np.isnan(column).all())]


def folders_in_words(archive: Archive) -> str:
    first = archive.folders[0].path
    return str(first) if len(archive.folders) == 1 else f"{first} and {len(archive.folders) - 1} more"
