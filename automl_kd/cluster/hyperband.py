"""HyperBand over a known number of trials: brackets in which trials wait for each other and all but the best end.

Li, Jamieson, DeSalvo, Rostamizadeh, Talwalkar. Hyperband: A Novel Bandit-Based Approach to Hyperparameter
Optimization. Journal of Machine Learning Research 18, 2018, arXiv:1603.06560, algorithm 1: R is `epochs`, eta is
`reduction`, and bracket s begins with n of r epochs each.

As in the paper, and unlike Ray's scheduler, brackets that halve most come first, and the last rung is R epochs. Unlike
the paper, no more than one trial in ten lies in the brackets s = 0, which halve never: a search of a dozen trials would
otherwise spend a quarter of them there. The last bracket has as many trials as are left.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

UNHALVED = 0.1
"""The largest share of trials that are never compared before their end."""


@dataclass(frozen=True)
class Bracket:
    """`size` trials, of which the best `kept` go on from each of `rungs`, in epochs; the last rung is the end."""

    size: int
    rungs: tuple[int, ...]
    reduction: float

    @property
    def kept(self) -> tuple[int, ...]:
        """How many go on from each rung but the last: one at least."""
        numbers = itertools.accumulate(self.rungs[:-1], lambda n, _: math.ceil(n / self.reduction), initial=self.size)
        return tuple(numbers)[1:]

    @property
    def unhalved(self) -> int:
        """How many trials of it none of which is ended early."""
        return self.size if all(number == self.size for number in self.kept) else 0


def brackets(trials: int, epochs: int, reduction: float) -> list[Bracket]:
    """Room for exactly so many trials of so many epochs."""
    deepest, few = deepest_bracket(epochs, reduction), fewest(reduction)
    if not deepest:
        return [Bracket(trials, (epochs,), reduction)]
    found: list[Bracket] = []
    left, free = trials, int(UNHALVED * trials)
    for s in itertools.cycle(range(deepest, -1, -1)):
        size = math.ceil((deepest + 1) / (s + 1) * reduction**s)
        if s:
            size = left if left - max(size, few) < few else max(size, few)
        else:
            most = min(size, free)
            size = left if left <= most else max(0, min(most, left - few))
            free -= size
        if size:
            found.append(Bracket(size, rungs(s, epochs, reduction), reduction))
        left -= size
        if not left:
            break
    return found


def fewest(reduction: float) -> int:
    """The smallest number of trials of which the best share is not all."""
    return next(n for n in itertools.count(2) if math.ceil(n / reduction) < n)


def deepest_bracket(epochs: int, reduction: float) -> int:
    """The largest s: its first rung is the first epoch. Where there are two epochs, one can halve after the first."""
    s = 0
    while reduction ** (s + 1) <= epochs:
        s += 1
    return max(s, min(1, epochs - 1))


def rungs(s: int, epochs: int, reduction: float) -> tuple[int, ...]:
    """Each r of algorithm 1, in whole epochs: `epochs` divided by powers of `reduction`, all different."""
    found = {max(1, int(epochs * reduction**-i + 1e-9)) for i in range(s + 1)}
    return tuple(sorted(found))


@dataclass(frozen=True, eq=False)
class Ghost:
    """A trial of an earlier session, of which only the reports come again."""

    trial_id: str


@dataclass(eq=False)
class Group:
    """The trials of a bracket. `at`: the rung at which they are compared next. `scores`: what each had, by rung."""

    bracket: Bracket
    size: int
    trials: list[Any] = field(default_factory=list)
    at: int = 0
    scores: dict[int, dict[Any, float]] = field(default_factory=dict)
    ended: set[Any] = field(default_factory=set)
    ready: set[Any] = field(default_factory=set)

    def is_due(self) -> bool:
        """Whether all that will come to the next rung are there."""
        if self.at >= len(self.bracket.kept) or len(self.trials) < self.size:
            return False
        here = self.scores.get(self.at, {})
        return bool(here) and all(trial in here or trial in self.ended for trial in self.alive())

    def alive(self) -> list[Any]:
        """Those that came through the rungs before, in order."""
        return list(self.scores[self.at - 1]) if self.at else self.trials

    def halve(self) -> list[Any]:
        """Go on to the next rung with the best; the others, worst first. Of equals the earlier goes on."""
        here = self.scores[self.at]
        order = {trial: number for number, trial in enumerate(self.trials)}
        ranked = sorted(here, key=lambda trial: (here[trial], -order[trial]))
        worse = ranked[: -self.bracket.kept[self.at]]
        for trial in worse:
            del here[trial]
        self.at += 1
        return worse


class HyperBand(TrialScheduler):  # type: ignore[misc]  # ray is untyped here
    """Pauses a trial at each rung of its bracket until all others have come there, and goes on with the best.

    `time_attr`, `metric`: the reported epoch, and what is compared; more is better.
    """

    def __init__(self, plan: Sequence[Bracket], *, time_attr: str, metric: str) -> None:
        super().__init__()
        self.time_attr, self.measure = time_attr, metric
        self.groups = [Group(bracket, bracket.size) for bracket in plan]
        self.group_of: dict[Any, Group] = {}
        self.controller: Any = None

    def on_trial_add(self, controller: Any, trial: Any) -> None:
        """More trials than were announced run to their end."""
        self.controller = controller or self.controller
        if not (group := next((one for one in self.groups if len(one.trials) < one.size), None)):
            last = self.groups[-1].bracket
            group = Group(Bracket(1, last.rungs[-1:], last.reduction), 1)
            self.groups.append(group)
        group.trials.append(trial)
        self.group_of[trial] = group

    def on_trial_result(self, _controller: Any, trial: Any, result: dict[str, Any]) -> str:
        group, epoch = self.group_of[trial], result[self.time_attr]
        group.ready.discard(trial)
        if epoch >= group.bracket.rungs[-1]:
            return str(TrialScheduler.STOP)
        if epoch not in group.bracket.rungs:
            return str(TrialScheduler.CONTINUE)
        group.scores.setdefault(group.bracket.rungs.index(epoch), {})[trial] = result[self.measure]
        if self.halve(group, trial):
            return str(TrialScheduler.STOP)
        return str(TrialScheduler.PAUSE if trial in group.scores.get(group.at, {}) else TrialScheduler.CONTINUE)

    def halve(self, group: Group, current: Any = None) -> bool:
        """Compare the trials of a bracket if all are there, and end the worse; whether `current` is one of them.

        `current`, which has just reported, is ended by the answer to its report.
        """
        ended = False
        while group.is_due():
            for trial in group.halve():
                if trial is current:
                    ended = True
                elif not isinstance(trial, Ghost) and trial not in group.ended:
                    self.controller.stop_trial(trial)
        here = group.scores.get(group.at, {})
        waiting = [trial for trial in group.alive() if trial not in here and trial not in group.ended]
        group.ready = {trial for trial in waiting if not isinstance(trial, Ghost) and trial is not current}
        return ended

    def close(self) -> None:
        """There are no more trials: brackets that wait for some are as large as they are."""
        for group in self.groups:
            group.size = len(group.trials)
            self.halve(group)

    def on_trial_complete(self, _controller: Any, trial: Any, _result: dict[str, Any]) -> None:
        self.on_trial_remove(None, trial)

    def on_trial_error(self, _controller: Any, trial: Any) -> None:
        self.on_trial_remove(None, trial)

    def on_trial_remove(self, _controller: Any, trial: Any) -> None:
        group = self.group_of[trial]
        group.ended.add(trial)
        group.ready.discard(trial)
        self.halve(group)

    def choose_trial_to_run(self, _controller: Any) -> Any:
        """Those that were paused come before new ones."""
        paused = (one for group in self.groups for one in group.ready if one.status == Trial.PAUSED)
        return next(itertools.chain(paused, self.pending()), None)

    def pending(self) -> Iterator[Any]:
        living = (one for group in self.groups for one in group.trials if one not in group.ended)
        return (one for one in living if not isinstance(one, Ghost) and one.status == Trial.PENDING)

    def debug_string(self) -> str:
        return f"HyperBand of {len(self.groups)} brackets"
