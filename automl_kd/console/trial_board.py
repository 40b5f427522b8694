"""The part of the live screen that shows the trials of a stage: status, best trial, time and cost."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from automl_kd.console.sentences import stage_facts
from automl_kd.experiment.progress.events import TrialStatus
from automl_kd.experiment.progress.stage_progress import StageProgress
from automl_kd.results import units

ABOVE = 15
"""Lines of a window that running trials may not use: bars, facts about the stage, notes."""


def board(progress: StageProgress, elapsed: float, height: int) -> RenderableType:
    """`elapsed`: seconds of the stage; `height`: lines of the window."""
    lines = Table.grid(padding=(0, 2))
    lines.add_column(no_wrap=True, style="dim")
    lines.add_column(overflow="fold")
    for name, text in stage_facts(progress, elapsed):
        lines.add_row(name, Text(text))
    running = progress.having("running")
    return Group(lines, *([trials(running, max(1, height - ABOVE))] if running else []))


def trials(running: list[TrialStatus], most: int) -> RenderableType:
    """One line per trial, the longest-running first; a narrow window cuts labels."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("trial", justify="right", min_width=5, no_wrap=True)
    table.add_column("student")
    table.add_column("epoch", justify="right", min_width=5, no_wrap=True)
    table.add_column("val, %", justify="right", min_width=6, no_wrap=True)
    for one in running[:most]:
        epoch = f"{one.epoch}/{one.epochs}"
        table.add_row(
            str(one.number), Text(one.label, no_wrap=True, overflow="ellipsis"), epoch, units.percent(one.val_accuracy)
        )
    if len(running) > most:
        table.add_row("", Text(f"and {len(running) - most} more"), "", "")
    return table
