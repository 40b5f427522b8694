"""`automl-kd nasbench proxy-benchmark`: how well proxies rank architectures whose accuracy is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from automl_kd.cli.nasbench.options import TablePath
from automl_kd.console.options import command_line
from automl_kd.console.screen import output, watching

LEADING_COLUMNS = ("proxy", "Kendall", "finding", "given size", "at equal size", "failed")
"""Columns that fit a terminal; the files have all columns."""

TERMINAL_ROWS = 20


def benchmark_proxies(
    scores: Annotated[list[Path], typer.Argument(help="Folders written by 'automl-kd score', or single files.")],
    nasbench201: TablePath = None,
    s1: Annotated[
        Path | None, typer.Option("--s1", help="Accuracies of the 64 students of S1: Parquet, arch, kd_acc, cls_acc.")
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(
            help="A device whose latency is a budget; may be repeated. Default: hwnas_{dataset}_raspi4 if known."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the result: Parquet, Markdown, HTML.")] = Path("results/panel"),
) -> None:
    """Compare scores of untrained networks with trained accuracies: NAS-Bench-201, and DisWOT's S1.

    Each proxy that does not beat the parameter count is marked.

    [bold]automl-kd nasbench proxy-benchmark results/scores --nasbench201 nasbench201 --out results/panel[/bold]
    """
    from automl_kd.console.report import print_sheet  # noqa: PLC0415 - pandas is slow to import
    from automl_kd.nasbench.proxy_benchmark.report import run_proxy_benchmark  # noqa: PLC0415
    from automl_kd.nasbench.proxy_benchmark.sheets import add_titles, benchmark_sheet, target_sentence  # noqa: PLC0415

    with watching() as screen:
        judged, written = run_proxy_benchmark(
            scores,
            out.absolute(),
            nasbench201=nasbench201,
            s1=s1,
            devices=device,
            command=command_line(),
            on_target=lambda title, number: screen.stage(f"judging {number} scores on {title}", number, "scores"),
        )
    console = output()
    for name, rows in add_titles(judged.proxies).groupby("target", sort=False, observed=True):
        shown = f", best {TERMINAL_ROWS} of {len(rows)}" if len(rows) > TERMINAL_ROWS else ""
        print_sheet(console, f"{name}{shown}", benchmark_sheet(rows.head(TERMINAL_ROWS)), LEADING_COLUMNS)
        console.print(target_sentence(rows), style="bold", highlight=False, markup=False)
        console.print()
    for note in judged.notes:
        console.print(note, highlight=False, markup=False)
    for path in written:
        console.print(f"written to {path}", highlight=False, markup=False, soft_wrap=True)
