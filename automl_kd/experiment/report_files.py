"""The report of experiments as files: one Markdown text and one page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from automl_kd import storage
from automl_kd.errors import ResultError
from automl_kd.results import units
from automl_kd.results.comparison.comparison import Comparison, comparison_of, record_of
from automl_kd.results.comparison.table import comparison_markdown
from automl_kd.results.published import figures_as_markdown, is_stand_in, stand_in_sentence
from automl_kd.results.report.leaderboard import leaderboard_markdown, list_failures, made_by, rank_results
from automl_kd.results.report.page import write_page
from automl_kd.results.report.shared_work import shared_work
from automl_kd.results.sheet import without_html
from automl_kd.results.store.folder import require_writable
from automl_kd.results.store.scores import read_scores
from automl_kd.results.store.text_baselines import text_baselines_lines
from automl_kd.results.verdict.distillation import is_distillation, name_trainings
from automl_kd.results.verdict.distillation_table import distillation_markdown
from automl_kd.results.verdict.gain import judge_search
from automl_kd.results.verdict.table import verdict_to_markdown


def write_reports(rows: Mapping[Path, pd.DataFrame], target: Path, command: str) -> list[Path]:
    """`leaderboard.html` and `leaderboard.md` in the folder `target`, of the rows in each experiment's folder."""
    if target.suffix and not target.is_dir():
        raise ResultError(f"{target} looks like a file; name a folder for the two files of a report")
    require_writable(target)
    folders, tried = list(rows), [stand_in_sentence(record_of(folder)) for folder in rows]
    rows = {folder: ours for folder, ours in rows.items() if not is_stand_in(record_of(folder))}
    compared = {folder: comparison_of(folder, ours) for folder, ours in rows.items()}
    distilled = {folder: is_distillation(ours, record_of(folder)) for folder, ours in rows.items()}
    searches = [
        name_trainings(ours) if distilled[folder] else ours
        for folder, ours in rows.items()
        if compared[folder] is None and not (distilled[folder] and len(rows) == 1)
    ]
    ranked = rank_results(pd.concat(searches, ignore_index=True)) if searches else None
    parts = [f"{made_by(command)}\n" if ranked is None else leaderboard_markdown(ranked, command)]
    parts += [verdict_markdown(folder, ours, compared[folder]) for folder, ours in rows.items()]
    parts += [f"{sentence}\n" for sentence in tried if sentence]
    page = write_page(folders, target / "leaderboard.html", command)
    storage.write(target / "leaderboard.md", without_html("\n".join(parts)))
    return [page, target / "leaderboard.md"]


def verdict_markdown(folder: Path, rows: pd.DataFrame, compared: Comparison | None) -> str:
    """The verdict on one experiment, or its comparison of methods, and its failed trials, as Markdown."""
    lost = "".join(f"- {line}\n" for line in list_failures(rows))
    metric = units.metric_sentence(rows["metric"])
    said = [*([metric] if metric else []), *text_baselines_lines(folder, rows), *shared_work(rows)]
    lost += "".join(f"\n{line}\n" for line in said)
    record = record_of(folder)
    published = figures_as_markdown(record.get("published") or ())
    if compared is not None:
        return comparison_markdown(compared) + (f"\n{lost}" if lost else "") + published
    judged = judge_search(rows, scores=read_scores(folder), record=record)
    if judged.distilled:
        return distillation_markdown(judged, rows) + lost + published
    return verdict_to_markdown(judged) + lost + published
