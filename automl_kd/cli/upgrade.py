"""`automl-kd upgrade`: an experiment file of an earlier release under today's names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def upgrade(
    experiment: Annotated[Path, typer.Argument(help="A TOML file; it is rewritten in place.", metavar="FILE")],
) -> None:
    """Rewrite an experiment file of an earlier release under today's names.

    Comments, order and layout stay. What changed is printed as a difference, which 'patch -R' undoes.

    [bold]automl-kd upgrade mine.toml[/bold]
    """
    from automl_kd.config.earlier.upgrade import upgrade_file  # noqa: PLC0415 - only this command needs it

    difference = upgrade_file(experiment)
    typer.echo(difference or f"{experiment} is up to date\n", nl=False)
