"""The live screen of a terminal, and the choice of a progress display."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
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
from rich.spinner import Spinner
from rich.table import Column
from rich.text import Text

from automl_kd.console.lines import JsonLines, PlainLines

if TYPE_CHECKING:
    from automl_kd.experiment.progress.events import StagePlan, TrialStatus, Watcher
    from automl_kd.experiment.progress.stage_progress import StageProgress

WIDE = 160
"""Width of output to a file or a pipe, in columns."""

FRAMES = 2
"""Refreshes per second: drawing takes time of the process that hands out trials."""


class ProgressMode(StrEnum):
    """How a run shows progress, on stderr."""

    AUTO = "auto"
    LINES = "lines"
    JSONL = "jsonl"
    NONE = "none"


ProgressOption = Annotated[
    ProgressMode,
    typer.Option(
        "--progress",
        help="On stderr: 'auto' is a live screen on a terminal and plain lines elsewhere, 'lines' always plain lines, "
        "'jsonl' one JSON object per line, 'none' nothing.",
    ),
]


def output() -> Console:
    """Return the console for results."""
    console = Console()
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(width=WIDE)


def watching(mode: ProgressMode = ProgressMode.AUTO) -> AbstractContextManager[Watcher]:
    """Yield a `Watcher` on stderr."""
    if mode is ProgressMode.NONE:
        from automl_kd.experiment.progress.events import Silent  # noqa: PLC0415 - the room brings torch along

        return nullcontext(Silent())
    if mode is ProgressMode.JSONL:
        return JsonLines()
    console = Console(stderr=True)
    return Screen(console) if mode is ProgressMode.AUTO and console.is_terminal else PlainLines()


class Note(ProgressColumn):
    """The latest note of a stage; a narrow window cuts it."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["note"], no_wrap=True, overflow="ellipsis")


class Remaining(TimeRemainingColumn):
    """Time left at the current pace; for a stage of trials the board shows it instead."""

    def render(self, task: Task) -> Text:
        return Text() if task.fields["planned"] else Text("left ") + super().render(task)


class Screen:
    """A `Watcher` that draws a bar per stage, and below them the trials of the current stage."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bars = Progress(
            TextColumn("{task.description}", table_column=Column(min_width=8)),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            Remaining(),
            Note(Column(no_wrap=False)),
            console=console,
        )
        self.task: TaskID | None = None
        self.total = 0
        self.progress: StageProgress | None = None
        self.live = Live(console=console, get_renderable=self.draw, refresh_per_second=FRAMES)

    def __enter__(self) -> Screen:
        self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.end_stage()
        self.live.stop()

    def draw(self) -> RenderableType:
        progress, task = self.progress, self.task
        if task is None:
            return Spinner("dots", "getting ready")
        if progress is None:
            return self.bars
        from automl_kd.console.trial_board import board  # noqa: PLC0415 - pandas is slow to import, and loaded by now

        return Group(self.bars, board(progress, self.bars.tasks[task].elapsed or 0.0, self.console.height))

    def stage(self, title: str, total: int, unit: str = "steps") -> None:  # noqa: ARG002 - the bar has no room
        self.end_stage()
        self.total = total
        self.task = self.bars.add_task(title, total=total, note="", planned=False)

    def step(self, done: int, note: str = "") -> None:
        if self.task is not None:
            planned = self.progress is not None
            self.bars.update(self.task, completed=done, note="" if planned else note, planned=planned)

    def note(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def plan(self, plan: StagePlan) -> None:
        from automl_kd.experiment.progress.stage_progress import StageProgress  # noqa: PLC0415 - the room brings torch along

        self.progress = StageProgress(plan)
        self.step(0)

    def trial(self, trial: TrialStatus) -> None:
        if self.progress is not None:
            self.progress.notify(trial)

    def end_stage(self) -> None:
        """Fill the bar of the stage that ended: a search may end early, when its space is exhausted."""
        self.progress = None
        if self.task is not None:
            self.bars.update(self.task, completed=self.total, note="", planned=True)
            self.bars.stop_task(self.task)
