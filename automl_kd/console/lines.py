"""Progress without a terminal: plain lines now and then, or one JSON object per line for programs."""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from automl_kd.experiment.progress.events import StagePlan, TrialStatus
    from automl_kd.experiment.progress.stage_progress import StageProgress

LINE_SECONDS = 15.0
"""The least time between two plain lines of progress, and between two summaries."""


class PlainLines:
    """A `Watcher` that writes plain lines: each stage, each note, and from time to time the progress of the stage."""

    def __init__(self) -> None:
        self.title, self.total, self.unit, self.spoken = "", 0, "", 0.0

    def __enter__(self) -> PlainLines:
        return self

    def __exit__(self, *_: object) -> None: ...

    def stage(self, title: str, total: int, unit: str = "steps") -> None:
        self.title, self.total, self.unit, self.spoken = title, total, unit, time.monotonic()
        self.note(title)

    def step(self, done: int, note: str = "") -> None:
        if time.monotonic() - self.spoken > LINE_SECONDS:
            self.spoken = time.monotonic()
            self.note(f"{self.title}: {done} of {self.total} {self.unit}{', ' * bool(note)}{note}")

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def plan(self, plan: StagePlan) -> None: ...

    def trial(self, trial: TrialStatus) -> None: ...


class JsonLines:
    """A `Watcher` that writes an object for every event, with the UTC time and the event's name.

    stage (title, total, unit), step (done, note), note (text), plan and trial (the fields of `StagePlan` and
    `TrialStatus`), progress (what a stage of trials comes to, now and then) and end (outcome: done, interrupted or
    failed).
    """

    def __init__(self) -> None:
        self.progress: StageProgress | None = None
        self.stepped = self.spoken = 0.0

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.summarise()
        outcome = "done" if error is None else "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        self.say("end", outcome=outcome)

    def say(self, event: str, **fields: Any) -> None:
        record = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "event": event,
            **null_nonfinite(fields),
        }
        print(json.dumps(record), file=sys.stderr, flush=True)

    def stage(self, title: str, total: int, unit: str = "steps") -> None:
        self.summarise()
        self.progress, self.stepped = None, time.monotonic()
        self.say("stage", title=title, total=total, unit=unit)

    def step(self, done: int, note: str = "") -> None:
        # The progress of a stage of trials is reported trial by trial.
        if self.progress is None and time.monotonic() - self.stepped > 1.0:
            self.stepped = time.monotonic()
            self.say("step", done=done, note=note)

    def note(self, text: str) -> None:
        self.say("note", text=text)

    def plan(self, plan: StagePlan) -> None:
        from automl_kd.experiment.progress.stage_progress import StageProgress  # noqa: PLC0415 - the room brings torch along

        self.progress, self.spoken = StageProgress(plan), time.monotonic()
        self.say("plan", **asdict(plan))

    def trial(self, trial: TrialStatus) -> None:
        self.say("trial", **asdict(trial))
        if self.progress is not None:
            self.progress.notify(trial)
            if time.monotonic() - self.spoken > LINE_SECONDS:
                self.summarise()

    def summarise(self) -> None:
        if self.progress is None:
            return
        self.spoken = time.monotonic()
        progress, left, best = self.progress, self.progress.left(), self.progress.best
        self.say(
            "progress",
            **{status: len(progress.having(status)) for status in ("running", "complete", "stopped", "failed")},
            trials=progress.plan.trials,
            busy=progress.busy,
            workers=progress.plan.workers,
            best=best and {"key": best.key, "label": best.label, "val_accuracy": best.val_accuracy},
            baseline=progress.baseline,
            train_macs=progress.train_macs,
            train_seconds=progress.train_seconds,
            left=left and asdict(left),
        )


def null_nonfinite(value: Any) -> Any:
    """Return `value` with null for numbers that are not finite, which JSON cannot express."""
    if isinstance(value, dict):
        return {name: null_nonfinite(one) for name, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
