"""`automl-kd nasbench import`: converts the official files of NAS-Bench-201 to one small table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from automl_kd.console.screen import watching


def import_table(
    official: Annotated[Path, typer.Argument(help="The unpacked folder NATS-tss-v1_0-3ffb9-simple.")],
    out: Annotated[Path, typer.Argument(help="Folder for the table, or a file name that ends in .parquet.")],
    hardware: Annotated[
        Path | None, typer.Option(help="A Parquet table of latencies by arch_index, copied beside it.")
    ] = None,
) -> None:
    """Convert the official NATS-Bench topology files to the table that the other commands read.

    This needs the package nats_bench. The files are pickles, which can run code: import only files that you trust.

    [bold]automl-kd nasbench import NATS-tss-v1_0-3ffb9-simple nasbench201[/bold]
    """
    from automl_kd.nasbench.table import official_files as nats_bench  # noqa: PLC0415 - pyarrow is slow to import
    from automl_kd.nasbench.table.table import Table  # noqa: PLC0415

    with watching() as screen:

        def progress(done: int, total: int) -> None:
            if not done:
                screen.stage(f"importing {total} architectures", total, "architectures")
            screen.step(done)

        path, _ = nats_bench.import_archive(official.absolute(), out.absolute(), hardware, progress)
    typer.echo(f"{Table.load(path).extent} written to {path}")
