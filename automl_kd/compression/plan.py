"""How the hours of a compression are divided: trials and epochs of the search, seeds and epochs of the finals."""

from __future__ import annotations

import bisect
import dataclasses
import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from automl_kd.compression.measured_speed import MeasuredSpeed
from automl_kd.config import Finalists

SEARCH_SHARE = 0.4
"""Of the time for trainings; the rest is the comparison's, without which nobody knows whether the search helped."""

SEARCH_LENGTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96)
"""Epochs of a search's trainings that are considered."""

WANTED_TRIALS, MOST_TRIALS, FEWEST_TRIALS = 16, 60, 4

MOST_EPOCHS = 300
"""Of a final, as in long recipes of the field; what is left of the hours is not spent."""

LEAST_EPOCHS = 8
"""Of a final: below it a smaller student is taken, which has time for more."""

GRACE, REDUCTION = 1, 3.0
"""Of asynchronous successive halving (Li et al. 2020. arXiv:1810.05934): first rung, and factor between rungs."""

SIMULATIONS = 40

LADDER = ((5, 3), (3, 2), (3, 1))
"""Seeds, and finalists among which is chosen, that are considered for the finals, in this order. With two seeds an
interval is 12.7 standard errors wide on each side (Student's t), so that no comparison would tell anything.
"""

LONG_ENOUGH = 2.0
"""More seeds are taken only while finals are so many times as long as the trainings of the search."""


@dataclass(frozen=True, kw_only=True)
class FinalsPlan:
    """`seeds`, `count`: of the comparison. `epochs`: of the found student. `seconds`: of wall-clock time."""

    seeds: int
    count: int
    epochs: int
    seconds: float

    def applied(self, finalists: Finalists) -> Finalists:
        return dataclasses.replace(finalists, seeds=tuple(range(self.seeds)), count=self.count, epochs=self.epochs)


@dataclass(frozen=True, kw_only=True)
class CompressPlan:
    """`trials`, `epochs`: of the search. `search_seconds`: of all workers together, with the teacher's passes.

    `before`: seconds until the first trial begins, for the teacher's check and accuracies. `after`: of export and page.
    `reserve`: the latter, and what is kept for whatever takes longer than forecast.
    """

    trials: int
    epochs: int
    search_seconds: float
    finals: FinalsPlan
    workers: int
    reserve: float
    before: float = 0.0
    after: float = 0.0

    @property
    def seconds(self) -> float:
        """Wall-clock time of search and finals."""
        return self.search_seconds / self.workers + self.finals.seconds


def expected_epochs(trials: int, epochs: int) -> float:
    """Mean epochs of the first `trials` under asynchronous successive halving, whose ranks are as good as random.

    Of more than `MOST_TRIALS` that of so many.
    """
    known = min(trials, MOST_TRIALS)
    return simulate_halving(epochs)[known - 1] / known


@cache
def simulate_halving(epochs: int) -> tuple[float, ...]:
    """Epochs of all trials up to each of `MOST_TRIALS`, by the mean of `SIMULATIONS`."""
    rungs = [rung for rung in (GRACE * int(REDUCTION) ** power for power in range(12)) if rung < epochs]
    rng, spent = np.random.default_rng(0), np.zeros(MOST_TRIALS)
    for _ in range(SIMULATIONS):
        seen: dict[int, list[float]] = {rung: [] for rung in rungs}
        spent += [first_failed(rungs, seen, quality) or epochs for quality in rng.random(MOST_TRIALS)]
    return tuple(float(total) for total in np.cumsum(spent / SIMULATIONS))


def first_failed(rungs: Iterable[int], seen: dict[int, list[float]], quality: float) -> int:
    """The rung at which a trial ends, which joins those of the rungs that it comes to; 0 if it ends at none."""
    for rung in rungs:
        before = seen[rung]
        beaten = bisect.bisect_left(before, quality)
        bisect.insort(before, quality)
        if beaten < (1 - 1 / REDUCTION) * (len(before) - 1):
            return rung
    return 0


def plan_search(speed: MeasuredSpeed, seconds: float, longest: int = SEARCH_LENGTHS[-1]) -> tuple[int, int, float]:
    """Trials, epochs and seconds of the longest search trainings of which enough fit into `seconds` of all workers.

    No trials if not even `FEWEST_TRIALS` of one epoch fit. `longest`: the most epochs.
    """
    best = (0, 1, 0.0)
    for epochs in [one for one in SEARCH_LENGTHS if one <= longest]:
        trials = count_fitting(speed, epochs, seconds)
        if trials >= WANTED_TRIALS or (epochs == 1 and trials >= FEWEST_TRIALS):
            best = (trials, epochs, search_cost(speed, trials, epochs))
    return best


def count_fitting(speed: MeasuredSpeed, epochs: int, seconds: float) -> int:
    """The most trials whose search costs no more than `seconds`."""
    counts = range(MOST_TRIALS, 0, -1)
    return next((trials for trials in counts if search_cost(speed, trials, epochs) <= seconds), 0)


def search_cost(speed: MeasuredSpeed, trials: int, epochs: int) -> float:
    """All trials have one seed, so that the teacher's passes are made once for all of them."""
    found = scaled_speed(speed, speed.size, speed.pace)
    trained = trials * expected_epochs(trials, epochs)
    return trained * found.epoch + trials * (speed.trial + found.tested) + epochs * speed.teacher_epoch


def finals_seconds(speed: MeasuredSpeed, seeds: int, count: int, epochs: float) -> float:
    """Wall-clock time of the choice among `count`, then default by KD, found student, and found by labels alone.

    All train for as much compute as the found student by KD does in `epochs`; the teacher's passes are made once for
    each seed. A worker without a training that is left to begin is idle.
    """
    found = scaled_speed(speed, speed.size, speed.pace)
    longer = epochs * speed.default_ratio
    default = speed.passes(longer) + speed.trial
    by_kd = found.passes(epochs) + speed.trial
    scratch = epochs * found.scratch_ratio * found.scratch_epoch + found.tested + speed.trial
    compared = seeds * [default + longer * speed.teacher_epoch, by_kd, *speed.untaught * [scratch]]
    chosen = (
        makespan(seeds * [by_kd + epochs * speed.teacher_epoch, *(count - 1) * [by_kd]], speed.workers)
        if count > 1
        else 0.0
    )
    return chosen + makespan(compared, speed.workers)


def makespan(seconds: Sequence[float], workers: int) -> float:
    """When the last of these trainings ends, if the longest begin first, each as soon as a worker is free."""
    free = [0.0] * max(1, workers)
    for one in sorted(seconds, reverse=True):
        heapq.heappush(free, heapq.heappop(free) + one)
    return max(free)


def fitting_epochs(speed: MeasuredSpeed, seeds: int, count: int, seconds: float) -> int:
    """The most epochs of finals that take no more than `seconds`; 0 if one is too much."""
    lengths = range(1, MOST_EPOCHS + 1)
    return bisect.bisect_right(lengths, seconds, key=lambda epochs: finals_seconds(speed, seeds, count, epochs))


def plan_finals(speed: MeasuredSpeed, seconds: float, searched: int, *, epochs: int = 0, seeds: int = 0) -> FinalsPlan:
    """The comparison that so much wall-clock time allows after a search whose trainings had `searched` epochs.

    `epochs`, `seeds`: as asked for, or 0.
    """
    ladder = [(seeds, count) for count in (3, 2, 1)] if seeds else list(LADDER)
    for tried, count in ladder:
        fitting = fitting_epochs(speed, tried, count, seconds)
        wanted = epochs or max(LEAST_EPOCHS, LONG_ENOUGH * searched)
        if fitting >= wanted or (tried, count) == ladder[-1]:
            length = epochs or fitting
            taken = finals_seconds(speed, tried, count, length)
            return FinalsPlan(seeds=tried, count=count, epochs=length, seconds=taken)
    raise AssertionError  # the ladder has a last rung


def divide_hours(
    speed: MeasuredSpeed, seconds: float, reserve: float, *, epochs: int = 0, seeds: int = 0
) -> CompressPlan:
    """The plan for `seconds` of wall-clock time, `reserve` aside."""
    workers, left = speed.workers, max(0.0, seconds - reserve)
    trials, length, searched = plan_search(speed, SEARCH_SHARE * left * workers)
    finals = plan_finals(speed, left - searched / workers, length, epochs=epochs, seeds=seeds)
    while length > 1 and finals.epochs < length:  # a search does not train longer than what it chooses for
        trials, length, searched = plan_search(speed, SEARCH_SHARE * left * workers, length - 1)
        finals = plan_finals(speed, left - searched / workers, length, epochs=epochs, seeds=seeds)
    return CompressPlan(
        trials=trials, epochs=length, search_seconds=searched, finals=finals, workers=workers, reserve=reserve
    )


def scaled_speed(speed: MeasuredSpeed, factor: float, pace: float = 1.0) -> MeasuredSpeed:
    """Of a student of `factor` times the multiply-adds, each of which takes `pace` times as long."""
    ratio = (1 + speed.teacher_share / max(factor, 1e-9)) * speed.images / speed.labelled
    return dataclasses.replace(speed, step=speed.step * factor * pace, scratch_ratio=ratio)
