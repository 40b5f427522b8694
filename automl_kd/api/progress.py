"""Progress of a call, as plain lines on standard output, where a notebook shows them."""

from __future__ import annotations

import time
from typing import Literal

from automl_kd.errors import RecordError
from automl_kd.experiment.progress.events import Silent, StagePlan, TrialStatus, Watcher

Progress = Literal["lines", "none"] | Watcher
"""What a call tells of itself: plain lines, nothing, or all events to an object that receives them."""

STEP_SECONDS = 10.0
"""The least time between two lines on the steps of a stage."""


class PrintedLines:
    """A `Watcher` that prints each stage, each note and, from time to time, how far the stage is."""

    def __init__(self) -> None:
        self.title, self.total, self.unit, self.printed = "", 0, "", 0.0

    def stage(self, title: str, total: int, unit: str = "steps") -> None:
        self.title, self.total, self.unit, self.printed = title, total, unit, time.monotonic()
        self.note(f"{title} ({total} {unit})")

    def step(self, done: int, note: str = "") -> None:
        if time.monotonic() - self.printed > STEP_SECONDS:
            self.printed = time.monotonic()
            self.note(f"{self.title}: {done} of {self.total} {self.unit}{', ' * bool(note)}{note}")

    def note(self, text: str) -> None:
        print(text, flush=True)

    def plan(self, plan: StagePlan) -> None: ...

    def trial(self, trial: TrialStatus) -> None: ...


def watcher_of(progress: Progress) -> Watcher:
    """`RecordError` for another text."""
    if not isinstance(progress, str):
        return progress
    if progress not in {"lines", "none"}:
        raise RecordError(
            f"progress = {progress!r} is no choice; take 'lines', 'none' or an object that receives events"
        )
    return PrintedLines() if progress == "lines" else Silent()
