"""The report on the terminal, and its Markdown and HTML files."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from automl_kd import storage
from automl_kd.errors import ResultError
from automl_kd.experiment.report_files import write_reports
from automl_kd.results import units
from automl_kd.results.comparison import sentences as comparison_sentences
from automl_kd.results.comparison import table as comparison_table
from automl_kd.results.comparison.comparison import Comparison, comparison_of, record_of
from automl_kd.results.published import stand_in_sentence
from automl_kd.results.report.leaderboard import list_failures, rank_results, to_sheet
from automl_kd.results.report.page import TRIAL_KIND_TITLES
from automl_kd.results.report.shared_work import shared_work
from automl_kd.results.sheet import Sheet
from automl_kd.results.store.folder import of_this_comparison
from automl_kd.results.store.scores import read_scores
from automl_kd.results.store.table import REPORTED, ResultTable, experiment_folders
from automl_kd.results.store.text_baselines import text_baselines_lines
from automl_kd.results.verdict import table as verdict_table
from automl_kd.results.verdict.distillation_table import differences_sheet, trainings_sheet
from automl_kd.results.verdict.gain import Verdict, judge_search
from automl_kd.results.verdict.readings import WHERE, readings_sheet

RANKING_COLUMNS = ("rank", "student", "method", "validation, %", "test, %", "seeds", "params", "epochs", "training")
BASELINE_COLUMNS = ("student", "test, %", "seeds", "params", "epochs", "training MACs")
COMPARISON_COLUMNS = ("method", "compute", "test, %", "difference, points", "finding", "cost")
DISTILLATION_COLUMNS = (*("training", "validation, %", "test, %", "spread", "seeds", "params", "training MACs"),)
EFFORT = ("method", "epochs", "tried", "cost of choosing", "failed", "options")
"""Columns that fit a terminal; the files have all columns."""

OTHER_COLUMNS, SCORE_WIDTH = 50, 10
"""Characters of a row of scores beside the proxies, and of a score."""

SHOWN_ROWS = 20
"""Entries of each trial kind that are printed; the files have all entries."""


def report(console: Console, paths: Sequence[Path], target: Path, command: str) -> bool:
    """Print the results in `paths` and write them to the folder `target`; return whether every experiment is finished.

    A search is finished when it has a verdict, a comparison when every method has a complete final.
    Raises `ResultError` for what cannot be read or written, before the first line is printed.
    """
    found = {folder.resolve(): folder for path in paths for folder in experiment_folders(path)}
    rows = {folder: of_this_comparison(folder, ResultTable(folder).read(REPORTED)) for folder in found.values()}
    if empty := next((folder for folder in rows if rows[folder].empty), None):
        raise ResultError(f"{empty} holds an experiment without any finished trial; wait for the first one")
    written = write_reports(rows, target, command)
    complete = [print_experiment(console, folder, ours) for folder, ours in rows.items()]
    for path in written:
        console.print(f"written to {storage.name_addresses(str(path))}", highlight=False, markup=False, soft_wrap=True)
    return all(complete)


def print_experiment(console: Console, folder: Path, rows: pd.DataFrame) -> bool:
    """Print the results of one experiment; return whether it is finished."""
    record = record_of(folder)
    metric = units.metric_sentence(rows["metric"])
    for said in (*([metric] if metric else []), *text_baselines_lines(folder, rows)):
        console.print(said, highlight=False, markup=False)
    if sentence := stand_in_sentence(record):
        console.print(sentence, style="bold", highlight=False, markup=False)
        return bool(((rows["trial_kind"] == "final") & (rows["status"] == "complete")).any())
    compared = comparison_of(folder, rows)
    if compared is None:
        judged = judge_search(rows, scores=read_scores(folder), record=record)
        return (print_distillation if judged.distilled else print_report)(console, folder.name, rows, judged)
    return print_comparison(console, folder.name, rows, compared)


def print_comparison(console: Console, name: str, rows: pd.DataFrame, compared: Comparison) -> bool:
    """Print a comparison's table, failures and findings; return whether every method has a complete final."""
    print_sheet(console, f"{name}: methods compared", comparison_table.result_sheet(compared), COMPARISON_COLUMNS)
    print_readings(console, comparison_table.side_by_side_sheet(compared))
    print_sheet(console, "training effort", comparison_table.training_effort_sheet(compared), EFFORT)
    for line in list_failures(rows):
        console.print(line, highlight=False, markup=False)
    for line in comparison_sentences.comparison_sentences(compared):
        console.print(line, style="bold", highlight=False, markup=False)
    for line in (*comparison_sentences.reading(compared), comparison_table.cost_note(compared), *shared_work(rows)):
        console.print(line, highlight=False, markup=False)
    return not compared.missing


def print_distillation(console: Console, name: str, rows: pd.DataFrame, judged: Verdict) -> bool:
    """Print the trainings of one student, their differences and failures; return whether there is a verdict."""
    print_sheet(console, f"{name}: one student", trainings_sheet(judged, rows), DISTILLATION_COLUMNS)
    if (differences := differences_sheet(judged)).rows:
        print_sheet(console, "differences on test, paired by seed", differences)
    print_readings(console, readings_sheet(judged.readings))
    print_verdict(console, rows, judged)
    return judged.finished


def print_report(console: Console, name: str, rows: pd.DataFrame, judged: Verdict) -> bool:
    """Print leaderboard, baseline comparison and failures of one search; return whether it has a verdict."""
    print_boards(console, name, rank_results(rows))
    if judged.arms:
        print_sheet(console, WHERE[judged.reading], verdict_table.verdict_table(judged), BASELINE_COLUMNS)
        print_sheet(console, "differences on test, paired by seed", verdict_table.gain_table(judged))
        print_readings(console, readings_sheet(judged.readings))
    print_verdict(console, rows, judged)
    return judged.finished


def print_verdict(console: Console, rows: pd.DataFrame, judged: Verdict) -> None:
    """Print failures, the verdict, and what it cost."""
    for line in list_failures(rows):
        console.print(line, highlight=False, markup=False)
    console.print(judged.sentence, style="bold", highlight=False, markup=False)
    sentences = (judged.parts_sentence, judged.readings_sentence, judged.teacher_sentence, judged.cost_sentence)
    for line in filter(None, (*sentences, *shared_work(rows))):
        console.print(line, highlight=False, markup=False)


def print_readings(console: Console, sheet: Sheet | None) -> None:
    """Print the readings side by side, where there are several."""
    if sheet:
        print_sheet(console, "differences by what is equal", sheet)


def print_boards(console: Console, name: str, board: pd.DataFrame) -> None:
    """Print one table per trial kind, in the order of time."""
    if board.groupby("method", observed=True)["options_json"].nunique().le(1).all():
        board = board.assign(options_json="{}")  # equal in every line; the verdict names them once
    for trial_kind, title in reversed(TRIAL_KIND_TITLES.items()):
        ours = board[board["trial_kind"] == trial_kind]
        shown = f", best {SHOWN_ROWS} of {len(ours)}" if len(ours) > SHOWN_ROWS else ""
        if not ours.empty:
            print_sheet(console, f"{name}: {title.lower()}{shown}", to_sheet(ours.head(SHOWN_ROWS)), RANKING_COLUMNS)


def print_scores(console: Console, frame: pd.DataFrame, top: int) -> None:
    """The best `top` architectures of a ranked frame of scores."""
    every = [name.removesuffix("_spread") for name in frame.columns if name.endswith("_spread")]
    proxies = fitting(every, console.width)
    size = [] if "params" in proxies else ["params"]
    table = Table(box=None, pad_edge=False)
    for column in ("rank", "architecture", "description", *size, *proxies, "seconds"):
        words = column in {"architecture", "description"}
        # In a narrow window the description is cut; the key identifies the architecture, and the file has the whole
        # text.
        table.add_column(column, justify="left" if words else "right", no_wrap=column != "description")
    for row in frame.head(top).to_dict("records"):
        scores = [score_cell(row[name], row[f"{name}_spread"]) for name in proxies]
        label = Text(row["student"], no_wrap=True, overflow="ellipsis")
        cells = (units.format_count(row[name]) for name in size)
        table.add_row(str(row["rank"]), row["architecture_id"], label, *cells, *scores, f"{row['seconds']:.3f}")
    console.print(table, highlight=False, markup=False)
    if hidden := len(every) - len(proxies):
        note = f"{hidden} more {'proxy' if hidden == 1 else 'proxies'} in the file, for which there is no room here"
        console.print(note, highlight=False, markup=False)


def fitting(proxies: Sequence[str], width: int) -> list[str]:
    """As many of the first proxies as have room beside the other columns of a score's row; at least one."""
    room, shown = width - OTHER_COLUMNS, list[str]()
    for name in proxies:
        room -= max(len(name), SCORE_WIDTH) + 1
        if shown and room < 0:
            break
        shown.append(name)
    return shown


def score_cell(score: float, spread: float) -> str:
    """A score and its spread over repeats, if there is one."""
    if units.missing(score):
        return units.MISSING
    value = f"{score:,.0f}" if abs(score) >= 1e5 else f"{score:.5g}"
    return f"{value} ± {spread:.2g}" if spread else value


def print_sheet(console: Console, title: str, sheet: Sheet, only: Collection[str] = ()) -> None:
    """Print a table, or only the columns named in `only`."""
    shown = [place for place, column in enumerate(sheet.columns) if not only or column.name in only]
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for place in shown:
        table.add_column(sheet.columns[place].name, justify="right" if sheet.columns[place].numeric else "left")
    for row in sheet.rows:
        table.add_row(*(row[place] for place in shown))
    console.print(table, highlight=False, markup=False)
    console.print()
