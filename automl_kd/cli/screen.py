"""Live progress on the terminal: a bar where someone watches, plain lines where the output goes to a file."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LINE_SECONDS = 15.0
"""The least time between two plain lines of progress."""


class Screen:
    """A `Watcher` on stderr. Use it as a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.task: TaskID | None = None
        self.title, self.total, self.spoken = "", 0, 0.0

    def __enter__(self) -> Screen:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.end_stage()
        self.progress.stop()

    def stage(self, title: str, total: int) -> None:
        self.end_stage()
        self.title, self.total, self.spoken = title, total, time.monotonic()
        if self.progress.disable:
            self.console.print(title, highlight=False)
        self.task = self.progress.add_task(title, total=total, note="")

    def step(self, done: int, note: str = "") -> None:
        if self.task is not None:
            self.progress.update(self.task, completed=done, note=note)
        if self.progress.disable and time.monotonic() - self.spoken > LINE_SECONDS:
            self.spoken = time.monotonic()
            self.console.print(f"{self.title}: {done} of {self.total}{', ' * bool(note)}{note}", highlight=False)

    def note(self, text: str) -> None:
        self.progress.console.print(text, highlight=False, markup=False)

    def end_stage(self) -> None:
        """Fill the bar of the stage that ended: a search may end early, when its space is used up."""
        if self.task is not None:
            self.progress.update(self.task, completed=self.total)
