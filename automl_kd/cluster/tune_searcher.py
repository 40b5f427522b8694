"""Adapts our samplers to Ray Tune's `Searcher` interface."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from ray.tune.search import Searcher

from automl_kd import storage
from automl_kd.cluster.failures import overdue
from automl_kd.spec import FailureKind, LoaderOptions, Outcome, TeacherCacheOptions, TrialPaths, TrialSpec

LONG_SECONDS = 0.1
"""After a choice that takes longer, as that of a proxy filter, the chosen trial begins before the next is asked for."""

Metrics = Mapping[str, float]
Curve = dict[int, Metrics]
"""What a trial reported, by epoch; an epoch reported again after a restart counts once."""

TUNE_ADDS = frozenset(
    {"config", "trial_id", "experiment_id", "date", "timestamp", "pid", "hostname", "node_ip", "done"}
)


class Failure(NamedTuple):
    """An error in words, and of what kind it is."""

    error: str
    failure_kind: FailureKind


DIED = Failure("its worker process died (killed, crashed or out of memory)", "died")


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """One trial to carry out.

    `replay`: what an earlier session reported of it, to be reported again instead. `failure`: how it ended then, if it
    failed in a way that it would fail in again. `until`: the epoch after which it ends for now, to be assigned again
    later.
    """

    spec: TrialSpec
    paths: TrialPaths
    replay: Sequence[Metrics] | None = None
    failure: Failure | None = None
    until: int | None = None


class Later:
    """There will be more trials to assign, when some of those that run have ended."""


Ask = Callable[[int], Assignment | Later | None]
"""The next assignment, given how many there were before; None when there is no more."""


class Repeating(Protocol):
    """A scheduler that accepts replayed trials of earlier sessions."""

    def repeat(self, assignment: Assignment, /) -> int:
        """Take notice of its reports; the epoch up to which it lets them come."""

    def close(self) -> None:
        """There will be no more trials."""


@dataclass
class Live:
    assignment: Assignment
    curve: Curve = field(default_factory=dict)
    failure: Failure | None = None
    note: str = ""
    remark: str = ""


class AssignmentSearcher(Searcher):  # type: ignore[misc]  # ray is untyped here
    """Hands out assignments and gathers what is reported of them.

    An exception in it, in `on_epoch` or in
    `on_outcome` ends the run and is kept in `failure`, since Tune would bury it in a traceback of its own. Tune's
    snapshots hold nothing of this object: resuming means asking again.
    """

    def __init__(
        self,
        ask: Ask,
        on_epoch: Callable[[TrialSpec, Metrics, int], None],
        on_outcome: Callable[[TrialSpec, Outcome, Curve], None],
        room: Callable[[], int] = lambda: sys.maxsize,
        scheduler: Repeating | None = None,
        long_seconds: float = LONG_SECONDS,
    ) -> None:
        super().__init__()
        self.ask, self.on_epoch, self.on_outcome = ask, on_epoch, on_outcome
        self.room, self.scheduler, self.long_seconds = room, scheduler, long_seconds
        self.asked = 0
        self.finished = False
        self.live: dict[str, Live] = {}
        self.failure: BaseException | None = None
        self.held_up = False

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return a trial to run; trials of earlier sessions are replayed on the way."""
        if self.failure is None and (self.held_up or len(self.live) >= self.room()):
            self.held_up = False
            return None
        assignment, begun = None, time.monotonic()
        try:
            while self.failure is None and (assignment := self.ask(self.asked)) is not None:
                if isinstance(assignment, Later):
                    return None
                self.asked += 1
                if assignment.replay is None:
                    self.live[trial_id] = Live(assignment)
                    self.held_up = time.monotonic() - begun > self.long_seconds
                    return to_config(assignment)
                self.repeat(assignment)
            self.finished = True
            if self.scheduler is not None:
                self.scheduler.close()
        except Exception as error:  # kept and raised again by the runner
            self.failure = error
        return str(Searcher.FINISHED)

    def repeat(self, assignment: Assignment) -> None:
        """Replay the reports of an earlier session's trial, as far as the scheduler lets it run this time."""
        replay = assignment.replay or ()
        reached = len(replay) if self.scheduler is None else self.scheduler.repeat(assignment)
        live = Live(assignment, failure=assignment.failure)
        for epoch, metrics in enumerate(replay[: min(reached, assignment.until or reached)], start=1):
            live.curve[epoch] = metrics
            self.on_epoch(assignment.spec, metrics, epoch)
        self.on_outcome(assignment.spec, outcome_of(live), live.curve)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        live = self.live.get(trial_id)
        if live is None or self.failure is not None:
            return
        if "error" in result:
            live.failure = Failure(result["error"], result.get("failure_kind", "other"))
        elif "epoch" in result:
            live.failure = None  # what had failed was tried again, and goes on
            self.record_report(live, result)

    def record_report(self, live: Live, result: Mapping[str, Any]) -> None:
        """Put an epoch on its trial's curve, and pass it on."""
        metrics = own_metrics(result)
        live.curve[result["epoch"]] = metrics
        live.note, live.remark = result.get("note", ""), result.get("remark", "")
        try:
            self.on_epoch(live.assignment.spec, metrics, result["epoch"])
        except Exception as failure:  # kept and raised again by the runner
            self.failure = failure

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        live = self.live.pop(trial_id, None)
        if live is None or self.failure is not None:
            return
        if result is not None and not error and "epoch" in result:
            self.record_report(live, result)  # Tune passes the report with which a trial ends here alone
        if self.failure is not None:
            return
        if error and live.failure is None:
            late = overdue(live.assignment.paths.trial)
            live.failure = Failure(late, "timeout") if late else DIED
        try:
            self.on_outcome(live.assignment.spec, outcome_of(live), live.curve)
        except Exception as failure:  # kept and raised again by the runner
            self.failure = failure

    def __getstate__(self) -> dict[str, Any]:
        """Do nothing: Tune pickles its searcher, and this one needs no file."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Nothing was saved."""


def outcome_of(live: Live) -> Outcome:
    epoch = max(live.curve, default=0)
    metrics = live.curve.get(epoch, {})
    if live.failure is not None:
        return Outcome(status="failed", metrics=metrics, epoch=epoch, **live.failure._asdict())
    done = epoch >= live.assignment.spec.recipe.epochs
    status: Literal["complete", "stopped"] = "complete" if done else "stopped"
    return Outcome(status=status, metrics=metrics, epoch=epoch, note=live.note, remark=live.remark)


def own_metrics(result: Mapping[str, Any]) -> Metrics:
    """What the trainable reported, without what Tune adds."""
    return {
        name: value
        for name, value in result.items()
        if isinstance(value, int | float)
        and not isinstance(value, bool)
        and name not in TUNE_ADDS
        and not name.startswith(("config/", "time_", "timesteps", "training_iteration", "iterations_", "warmup_time"))
        and name != "epoch"
    }


def to_config(assignment: Assignment) -> dict[str, Any]:
    """An assignment as the plain values that Tune carries to a worker."""
    parts = dataclasses.asdict(assignment.paths)  # with the teacher cache's options as a mapping
    place = {name: storage.address(value) if isinstance(value, Path) else value for name, value in parts.items()}
    record = {"spec": assignment.spec.to_json(), "place": place}
    return {**record, "replay": assignment.replay, "failure": assignment.failure, "until": assignment.until}


def from_config(config: Mapping[str, Any]) -> Assignment:
    place = config["place"]
    return Assignment(
        spec=TrialSpec.from_json(config["spec"]),
        paths=TrialPaths(
            trial=storage.local_path(place["trial"]),
            teachers=storage.local_path(place["teachers"]),
            data=storage.local_path(place["data"]),
            device=place["device"],
            teacher_cache=TeacherCacheOptions(**place["teacher_cache"]),
            loader=LoaderOptions(**place["loader"]),
            pausable=place["pausable"],
            checkpoint_minutes=place["checkpoint_minutes"],
            int8=place["int8"],
            cuda_graphs=place["cuda_graphs"],
            parent=storage.local_path(place["parent"]) if place["parent"] else None,
        ),
        replay=config["replay"],
        failure=Failure(*config["failure"]) if config["failure"] else None,
        until=config["until"],
    )
