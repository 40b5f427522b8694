"""`automl-kd check-teacher`: checks the teacher of an experiment, and forecasts what the experiment takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from automl_kd import config
from automl_kd.config import Experiment
from automl_kd.console.options import DataRoot, Overrides, roots
from automl_kd.console.screen import ProgressMode, ProgressOption, output, watching
from automl_kd.registry import search_beside


def check_teacher(
    experiment: Annotated[Path, typer.Argument(help="A TOML file.")],
    overrides: Overrides = [],  # noqa: B006 - typer reads it, nothing changes it
    data_root: DataRoot = "data",
    progress: ProgressOption = ProgressMode.AUTO,
) -> None:
    """Check teachers from files: whether images and classes are as they were trained with, and what they cost.

    Nothing is written. Exit code 1 if a teacher does better under another preprocessing or order of classes.

    [bold]automl-kd check-teacher mine.toml[/bold]
    [bold]automl-kd check-teacher mine.toml --set teacher.preprocessing.channels=bgr[/bold]
    """
    search_beside(experiment.parent, Path())
    described = config.load_experiment(experiment, overrides)
    assert isinstance(described, Experiment)  # other kinds have sections that are unknown here
    with watching(progress) as watcher:
        from automl_kd.experiment.preflight.whole import check_everything  # noqa: PLC0415 - torch is slow to import

        found = check_everything(described, roots("results", data_root), watcher)
    from automl_kd.console.report import print_sheet  # noqa: PLC0415 - pandas is slow to import

    for title, table in found.tables.items():
        print_sheet(output(), title, table)
    for line in found.lines:
        typer.echo(line)
    if found.misfit:
        raise typer.Exit(1)
