"""Results for people: tables on the terminal, and the Markdown and HTML files."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from automl_kd.results import truth_table, units
from automl_kd.results.folder import write_atomically
from automl_kd.results.leaderboard import failures, leaderboard, to_markdown, to_sheet
from automl_kd.results.page import write_page
from automl_kd.results.sheet import Sheet
from automl_kd.results.table import ResultTable, experiment_folders
from automl_kd.results.verdict import verdict

LEADING = ("rank", "student", "method", "validation, %", "test, %", "seeds", "params", "training")
TRUTH = ("student", "test, %", "seeds", "params", "epochs", "training MACs")
"""Columns that fit a terminal; the files have them all."""


def print_report(console: Console, paths: Sequence[Path]) -> bool:
    """Leaderboard, truth table and failures of each experiment; whether all of them have a verdict."""
    judged = []
    for folder in folders(paths):
        rows = ResultTable(folder).read()
        judged.append(verdict(rows))
        print_sheet(console, f"{folder.name}: trained", to_sheet(leaderboard(rows)), LEADING)
        if judged[-1].arms:
            print_sheet(console, "at equal compute", truth_table.truth_table(judged[-1]), TRUTH)
            print_sheet(console, "differences on test, paired by seed", truth_table.gain_table(judged[-1]))
        for line in failures(rows):
            console.print(line, highlight=False, markup=False)
        console.print(judged[-1].sentence, style="bold", highlight=False, markup=False)
        console.print(judged[-1].cost_sentence, highlight=False, markup=False)
    return all(one.gains["search"].n > 0 for one in judged)


def write_reports(paths: Sequence[Path], target: Path, command: str) -> list[Path]:
    """`leaderboard.md` and `leaderboard.html` in `target`."""
    found = folders(paths)
    rows = pd.concat([ResultTable(folder).read() for folder in found], ignore_index=True)
    verdicts = [truth_table.to_markdown(verdict(ResultTable(folder).read())) for folder in found]
    write_atomically(target / "leaderboard.md", "\n".join([to_markdown(leaderboard(rows), command), *verdicts]))
    return [target / "leaderboard.md", write_page(found, target / "leaderboard.html", command)]


def folders(paths: Sequence[Path]) -> list[Path]:
    return [folder for path in paths for folder in experiment_folders(path)]


def print_scores(console: Console, frame: pd.DataFrame, top: int) -> None:
    """The best `top` architectures of a ranked frame of scores."""
    proxies = [name.removesuffix("_spread") for name in frame.columns if name.endswith("_spread")]
    table = Table(box=None, pad_edge=False)
    for column in ("rank", "architecture", "description", "params", *proxies, "seconds"):
        table.add_column(column, justify="left" if column in {"architecture", "description"} else "right")
    for row in frame.head(top).to_dict("records"):
        scores = [f"{row[name]:.5g} ± {row[f'{name}_spread']:.2g}" for name in proxies]
        cells = [str(row["rank"]), row["architecture"], row["label"], units.count(row["params"]), *scores]
        table.add_row(*cells, f"{row['seconds']:.3f}")
    console.print(table, highlight=False, markup=False)


def print_sheet(console: Console, title: str, sheet: Sheet, only: Collection[str] = ()) -> None:
    """Print a table, or those of its columns that are named in `only`."""
    shown = [place for place, column in enumerate(sheet.columns) if not only or column.name in only]
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for place in shown:
        table.add_column(sheet.columns[place].name, justify="right" if sheet.columns[place].numeric else "left")
    for row in sheet.rows:
        table.add_row(*(row[place] for place in shown))
    console.print(table, highlight=False, markup=False)
    console.print()
