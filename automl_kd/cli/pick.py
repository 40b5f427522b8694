"""`automl-kd pick`: which student to take under a budget, from what was trained and scored before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import JustifyMethod
from rich.table import Table

from automl_kd import storage
from automl_kd.console.options import command_line
from automl_kd.console.screen import output
from automl_kd.errors import ConfigError
from automl_kd.registry import search_beside
from automl_kd.results.quantity import parse_quantity

if TYPE_CHECKING:
    from automl_kd.results.archive.choice import StudentChoice
    from automl_kd.results.archive.limits import Limits

SHORT_TITLES = {"validation, %": "val, %", "parameters": "params", "latency, ms": "ms", "size, MB": "MB"}
"""Of columns, in a terminal."""


def pick(
    results: Annotated[list[str], typer.Argument(help="Folders of experiments, or a folder that holds several.")],
    max_params: Annotated[str, typer.Option(metavar="N", help="Most parameters, such as 2M or 300k.")] = "",
    max_macs: Annotated[str, typer.Option(metavar="N", help="Most multiply-adds for one image, such as 20M.")] = "",
    max_latency: Annotated[str, typer.Option(metavar="TIME", help="Longest latency, such as 5ms.")] = "",
    max_size: Annotated[str, typer.Option(metavar="SIZE", help="Largest size in float32, such as 0.5MB.")] = "",
    device: Annotated[
        str, typer.Option(metavar="NAME", help="Whose latencies count, where several devices measured: part of a name.")
    ] = "",
    top: Annotated[int, typer.Option(help="Students printed; the files have all.", min=1)] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
    out: Annotated[str, typer.Option(metavar="FOLDER", help="Folder for front.html, front.md and front.csv.")] = "",
    train: Annotated[
        str, typer.Option(metavar="FILE", help="Write the experiment that does the missing training.")
    ] = "",
) -> None:
    """Say which student to take under a budget, from an archive of trained and scored ones, without a new search.

    Exit code 1 if no trained student keeps the limits, but one that was only scored.

    [bold]automl-kd pick results/mine --max-params 2M --max-latency 5ms[/bold]
    [bold]automl-kd pick results --max-macs 20M --out front[/bold]
    """
    from automl_kd.results.archive.archive import read_student_archive  # noqa: PLC0415 - pyarrow is slow to import
    from automl_kd.results.archive.choice import choose_student  # noqa: PLC0415 - likewise

    limits = read_limits(max_params, max_macs, max_latency, max_size)
    choice = choose_student(read_student_archive(results, device), limits)
    written = [*([write_missing(choice, Path(train))] if train else []), *(write_files(choice, out) if out else [])]
    if as_json:
        from automl_kd.results.archive.tables import choice_record  # noqa: PLC0415 - likewise

        typer.echo(storage.name_addresses(json.dumps(choice_record(choice, top), indent=1)))
    else:
        print_choice(choice, top)
    for path in written:
        typer.echo(f"written to {storage.name_addresses(str(path))}", err=as_json)
    if choice.best is None:
        raise typer.Exit(1)


def read_limits(max_params: str, max_macs: str, max_latency: str, max_size: str) -> Limits:
    from automl_kd.results.archive.limits import Limits  # noqa: PLC0415 - pyarrow is slow to import

    return Limits(
        params=parse_quantity(max_params, "params") if max_params else None,
        macs=parse_quantity(max_macs, "macs") if max_macs else None,
        latency_ms=parse_quantity(max_latency, "ms") if max_latency else None,
        size_mb=parse_quantity(max_size, "MB") if max_size else None,
    )


def print_choice(choice: StudentChoice, top: int) -> None:
    """The first students in a table, and the answer in sentences."""
    from automl_kd.results.archive.sentences import choice_sentences  # noqa: PLC0415 - pyarrow is slow to import
    from automl_kd.results.archive.tables import ON_TERMINAL, students_sheet  # noqa: PLC0415 - likewise

    console = output()
    sheet = students_sheet(choice, choice.shown[:top])
    if sheet.rows:
        table = Table(box=None, pad_edge=False)
        for column in sheet.columns[: len(ON_TERMINAL)]:
            name, words = SHORT_TITLES.get(column.name, column.name), column.name == "method"
            justify: JustifyMethod = "right" if column.numeric else "left"
            table.add_column(name, justify=justify, no_wrap=not words, min_width=len("method") if words else None)
        for row in sheet.rows:
            table.add_row(*row[: len(ON_TERMINAL)])
        console.print(table, highlight=False, markup=False)
        if (rest := len(choice.shown) - top) > 0:
            console.print(f"{rest} more keep the limits; --top or --out shows them", highlight=False, markup=False)
        console.print()
    for one in choice_sentences(choice):
        style = "bold" if one.name == "take" else None
        text = storage.name_addresses(one.text)
        # Commands are copied from here, so lines are left to the terminal to break.
        console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)


def write_files(choice: StudentChoice, out: str) -> list[Path]:
    from automl_kd.results.archive.page import write_front  # noqa: PLC0415 - matplotlib is slow to import

    return write_front(choice, storage.local_path(out).absolute(), command_line())


def write_missing(choice: StudentChoice, file: Path) -> Path:
    """Write the experiment of the missing training; `ConfigError` if none is missing or the file is there."""
    from automl_kd import files  # noqa: PLC0415 - beside the next
    from automl_kd.cli.init import refuse_overwriting  # noqa: PLC0415 - beside the next

    if choice.missing is None:
        raise ConfigError("no training is missing for this budget, so there is nothing for --train; leave it out")
    refuse_overwriting(file, force=False)
    search_beside(file.parent, Path())
    from automl_kd.export.training_file import write_training  # noqa: PLC0415 - torch is slow to import

    files.write(file, write_training(choice.archive, choice.missing.student))
    return file
