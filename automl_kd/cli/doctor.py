"""`automl-kd doctor`: what an old or damaged folder of results holds, and the mending of it."""

from __future__ import annotations

from typing import Annotated

import typer


def doctor(
    path: Annotated[str, typer.Argument(help="The folder of an experiment, or a root that holds several.")],
    repair: Annotated[bool, typer.Option("--repair", help="Mend what was found; nothing measured is deleted.")] = False,
) -> None:
    """Say what is wrong with a folder of results; with --repair, mend it.

    What is damaged is moved into damaged/, with a note, and the same search command does it again. Exit code 0 if the
    folder is sound or mended, 1 if faults remain.

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
