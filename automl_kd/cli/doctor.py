"""`automl-kd doctor`: checks a results folder and repairs it."""

from __future__ import annotations

from typing import Annotated

import typer


def doctor(
    path: Annotated[str, typer.Argument(help="The folder of an experiment, or a folder that holds several.")],
    repair: Annotated[bool, typer.Option("--repair", help="Repair what was found; no measurement is deleted.")] = False,
) -> None:
    """Report what is wrong with a results folder; with --repair, repair it.

    Damaged files are moved into damaged/, with a note, and the same search command makes them again. Exit code 0 if the
    folder is sound or repaired, 1 if faults remain.

    [bold]automl-kd doctor results/quickstart[/bold]
    [bold]automl-kd doctor results --repair[/bold]
    [bold]automl-kd doctor s3://BUCKET/runs --repair[/bold]
    """
    from automl_kd import storage  # noqa: PLC0415 - pyarrow is slow to import
    from automl_kd.results.doctor.doctor import diagnose  # noqa: PLC0415 - pandas is slow to import

    found = diagnose(storage.local_path(path), repair=repair)
    for line in found.lines:
        typer.echo(storage.name_addresses(line))
    if not found.lines:
        typer.echo(f"{path} is sound")
    if found.faults:
        raise typer.Exit(1)
