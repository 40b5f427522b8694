"""One HTML page that shows experiments and needs no network: verdict, tables, plots, failures, costs.

A search for a student is shown by its verdict and leaderboards, a comparison of methods and a distillation each by its
own table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from automl_kd import storage
from automl_kd.results import units
from automl_kd.results.comparison import (
    plots as comparison_plots,
)
from automl_kd.results.comparison import (
    sentences as comparison_sentences,
)
from automl_kd.results.comparison import (
    table as comparison_table,
)
from automl_kd.results.comparison.comparison import Comparison, comparison, is_comparison, record_of
from automl_kd.results.published import PUBLISHED_NOTE, figures_of_others, is_stand_in, stand_in_sentence
from automl_kd.results.report.architecture import draw_students
from automl_kd.results.report.distillation import distillation_view, used_sections
from automl_kd.results.report.leaderboard import NOTE, list_failures, rank_results, to_sheet
from automl_kd.results.report.overview import compared_lines, judged_lines, regime_of
from automl_kd.results.report.plots import accuracy_against_params, learning_curves
from automl_kd.results.report.remarks import list_remarks
from automl_kd.results.report.shared_work import shared_work
from automl_kd.results.sheet import Column, Sheet
from automl_kd.results.store.account import line_of
from automl_kd.results.store.folder import of_this_comparison
from automl_kd.results.store.scores import read_scores
from automl_kd.results.store.table import REPORTED, ResultTable, experiment_folders
from automl_kd.results.store.teacher_shares import shares_line
from automl_kd.results.store.text_baselines import text_baselines_lines
from automl_kd.results.templates import load_template
from automl_kd.results.verdict.distillation_table import DISTILLATION_NOTE
from automl_kd.results.verdict.gain import judge_search
from automl_kd.results.verdict.readings import READINGS_NOTE, WHERE, readings_sheet, rows_in
from automl_kd.results.verdict.table import cost_table, gain_table, verdict_table

TRIAL_KIND_TITLES = {"final": "Finals", "choice": "Finalists", "search": "Search trials", "teacher": "Teacher"}


class Standing(NamedTuple):
    """The state of an unfinished run. `facts`: names and a sentence for each.

    `reload`: seconds after which the page loads itself again; 0 if the run does not go on.
    """

    headline: str
    facts: tuple[tuple[str, str], ...] = ()
    note: str = ""
    reload: int = 0


def write_page(folders: Path | Sequence[Path], out: Path, command: str = "", standing: Standing | None = None) -> Path:
    """Write the page about one or several experiments to `out`, whole or not at all.

    Each of `folders` holds one experiment or several. The page names `command` as what made it. An experiment
    without rows or finals is shown as far as it is; a folder without experiments raises `ResultError`.
    `standing`: of an unfinished run.
    """
    given = [folders] if isinstance(folders, Path) else folders
    found = [folder for one in given for folder in experiment_folders(one)]
    views = [experiment_view(folder) for folder in found]
    title = views[0]["name"] if len(views) == 1 else units.some(len(views), "experiment")
    text = load_template(Path(__file__).with_name("page.html")).render(
        title=title,
        views=views,
        note=NOTE,
        distillation_note=DISTILLATION_NOTE,
        readings_note=READINGS_NOTE,
        command=command,
        standing=standing,
    )
    storage.write(out, text)
    return out


def experiment_view(folder: Path) -> dict[str, object]:
    """Return the template's values for one experiment."""
    rows = of_this_comparison(folder, ResultTable(folder).read(REPORTED))
    record = record_of(folder)
    if is_stand_in(record):
        said = stand_in_sentence(record)
        view: dict[str, object] = {"stand_in": said, "compared": None, "sentences": [], "aside": []}
    elif is_comparison(record):
        view = contested(comparison(rows, record))
    else:
        view = search_view(folder, rows, record)
    record = used_sections(record) if view.get("distilled") else record
    return {
        "name": record.get("name", folder.resolve().name),
        "facts": trial_facts(rows),
        "data": line_of(folder),
        "metric": units.metric_sentence(rows["metric"]),
        "shares": shares_line(folder),
        "text_baselines": " ".join(text_baselines_lines(folder, rows)),
        "distilled": False,
        "stand_in": "",
        "costs": None,
        "screening": None,
        "overview": [],
        "regime": regime_of(record),
        "published": figures_of_others(record.get("published") or ()),
        "published_note": PUBLISHED_NOTE,
        **view,
        "work": [*shared_work(rows), *list_remarks(rows)],
        "failures": list_failures(rows),
        "provenance": results_provenance(rows),
        "record": json.dumps(record, indent=2) if record else "",
    }


def search_view(folder: Path, rows: pd.DataFrame, record: Mapping[str, Any]) -> dict[str, object]:
    """Return the values that only a search has, or a distillation if nothing was searched."""
    scores = read_scores(folder)
    judged = judge_search(rows, scores=scores, record=record)
    if judged.distilled:
        view = distillation_view(judged, rows, ResultTable(folder).curves())
        return {**view, "overview": list(judged_lines(judged))}
    boards, shown = rank_results(rows), rows_in(rows, judged.reading)
    sentences = (judged.parts_sentence, judged.readings_sentence, judged.teacher_sentence, judged.cost_sentence)
    search, teacher = rows[rows["trial_kind"] == "search"], rows[rows["trial_kind"] == "teacher"]
    return {
        "compared": None,
        "overview": list(judged_lines(judged)),
        "sentences": [judged.sentence],
        "aside": [text for text in sentences if text],
        "where": WHERE[judged.reading],
        "baseline_comparison": verdict_table(judged) if judged.arms else None,
        "readings": readings_sheet(judged.readings),
        "gains": gain_table(judged) if judged.arms else None,
        "costs": cost_table(judged),
        "boards": {
            title: to_sheet(boards[boards["trial_kind"] == trial_kind])
            for trial_kind, title in TRIAL_KIND_TITLES.items()
            if (boards["trial_kind"] == trial_kind).any()
        },
        "scatter": accuracy_against_params(search, judged.arms, teacher),
        "curves": learning_curves(shown, ResultTable(folder).curves()),
        "students": draw_students(folder, rows[rows["trial_kind"] == "final"]),
        "screening": screening(scores),
    }


def contested(compared: Comparison) -> dict[str, object]:
    """Return the values that only a comparison has."""
    return {
        "compared": comparison_table.result_sheet(compared),
        "overview": list(compared_lines(compared)),
        "readings": comparison_table.side_by_side_sheet(compared),
        "sentences": comparison_sentences.comparison_sentences(compared),
        "aside": comparison_sentences.reading(compared),
        "dots": comparison_plots.plot_accuracies(compared),
        "over_cost": comparison_plots.accuracy_over_cost(compared),
        "effort": comparison_table.training_effort_sheet(compared),
        "attempts": comparison_table.attempt_sheet(compared),
        "costs": comparison_table.stage_sheet(compared),
        "cost_note": comparison_table.cost_note(compared),
    }


def trial_facts(rows: pd.DataFrame) -> str:
    """How many trials there are and how they ended, in a line."""
    trials = rows.drop_duplicates(["trial_kind", "key"])
    ends = [f"{int((trials['status'] == status).sum())} {status}" for status in ("complete", "stopped", "failed")]
    datasets = ", ".join(sorted(rows["dataset"].dropna().unique())) or "no data yet"
    return f"{datasets} · {units.some(len(trials), 'trial')}: {', '.join(ends)}"


def screening(scores: pd.DataFrame) -> Sheet | None:
    """One line per proxy: how many architectures it scored and failed on, and how long it took."""
    if scores.empty:
        return None
    lines = []
    for proxy, ours in scores.groupby("proxy", observed=True):
        failed = int(ours["score"].isna().sum())
        number = ours[["space", "architecture_id"]].drop_duplicates().shape[0]
        lines.append((str(proxy), str(number), str(failed), units.duration(float(ours["seconds"].sum()))))
    names = ("proxy", "architectures", "failed", "time")
    return Sheet(tuple(Column(name, numeric=place > 0) for place, name in enumerate(names)), tuple(lines))


def results_provenance(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """Where the numbers come from: dates, device, commit and versions, all that occur."""
    started = rows["started"].dropna()
    dates = [f"{moment:%Y-%m-%d %H:%M}" for moment in (started.min(), started.max())] if len(started) else []
    packages = [json.loads(text).items() for text in distinct_values(rows, "versions_json")]
    versions = [f"{name} {value}" for pairs in packages for name, value in pairs]
    known = [
        ("trials started (UTC)", " to ".join(dict.fromkeys(dates))),
        ("device", ", ".join(distinct_values(rows, "device"))),
        ("commit", ", ".join(distinct_values(rows, "git_commit"))),
        ("versions", ", ".join(dict.fromkeys(versions))),
    ]
    return [(name, text) for name, text in known if text]


def distinct_values(rows: pd.DataFrame, name: str) -> list[str]:
    return [str(value) for value in rows[name].dropna().unique()]
