"""Live progress on the terminal: a bar where someone watches, plain lines where the output goes to a file."""

from __future__ import annotations

import os
import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

WIDE = 160
"""Columns of what is printed to a file or a pipe, where no window sets a limit."""

LINE_SECONDS = 15.0
"""The least time between two plain lines of progress."""


def output() -> Console:
    """Where results are printed."""
    console = Console()
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(width=WIDE)


class Note(ProgressColumn):
    """The latest of a stage; in a window too narrow for the line, this is what is cut short."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["note"], no_wrap=True, overflow="ellipsis")


class Screen:
    """A `Watcher` on stderr. Use it as a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            Note(Column(no_wrap=False)),
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
            self.note(title)
        self.task = self.progress.add_task(title, total=total, note="")

    def step(self, done: int, note: str = "") -> None:
        if self.task is not None:
            self.progress.update(self.task, completed=done, note=note)
        if self.progress.disable and time.monotonic() - self.spoken > LINE_SECONDS:
            self.spoken = time.monotonic()
            self.note(f"{self.title}: {done} of {self.total}{', ' * bool(note)}{note}")

    def note(self, text: str) -> None:
        self.progress.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def end_stage(self) -> None:
        """Fill the bar of the stage that ended: a search may end early, when its space is used up."""
        if self.task is not None:
            self.progress.update(self.task, completed=self.total)
