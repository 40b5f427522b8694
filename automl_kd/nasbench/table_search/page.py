"""The report of searches of a table: Markdown and one HTML page that needs no network, from what is on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from automl_kd import storage
from automl_kd.nasbench.table_search import plots
from automl_kd.nasbench.table_search import sheets as tables
from automl_kd.nasbench.table_search.record import Record
from automl_kd.nasbench.table_search.sentences import write_tabular_sentences
from automl_kd.results.sheet import without_html
from automl_kd.results.store.folder import read_experiment_record as read_experiment
from automl_kd.results.templates import load_template


def write_tabular_report(record: Record, out: Path, command: str = "") -> list[Path]:
    """Write `leaderboard.html` and `leaderboard.md` to the folder `out`, whole or not at all; their paths."""
    lines = write_tabular_sentences(record)
    storage.write(out / "leaderboard.html", render_tabular_page(record, lines, command))
    storage.write(out / "leaderboard.md", without_html(tables.tabular_markdown(record, lines, command)))
    return [out / "leaderboard.html", out / "leaderboard.md"]


def render_tabular_page(record: Record, lines: list[str], command: str) -> str:
    """The page as text. `lines`: its sentences."""
    facts = record.facts
    return load_template(Path(__file__).with_name("page.html")).render(
        name=facts["name"],
        sentences=lines,
        views=[task_view(record, task) for task in facts["tasks"] if len(tables.task_rows(record, task))],
        training_free=[
            (task["name"], tables.training_free_sheet(record, task))
            for task in facts["tasks"]
            if len(record.training_free)
        ],
        training_free_note=tables.TRAINING_FREE_NOTE,
        hypervolumes=plots.hypervolumes(record),
        fronts=tables.front_sheet(record) if len(record.fronts) else None,
        front_note=tables.FRONT_NOTE,
        devices=tables.device_sheet(record),
        scores=tables.score_sheet(record),
        provenance=facts["provenance"],
        record=json.dumps(read_experiment(record.folder)["table"], indent=2),
        command=command,
    )


def task_view(record: Record, task: Mapping[str, Any]) -> Mapping[str, object]:
    """Return the template's values for one task."""
    return {
        "name": task["name"],
        "statement": tables.statement(task),
        "sheet": tables.task_regret_sheet(record, task),
        "note": tables.task_note(record, task),
        "overviews": [drawn for axis in plots.AXES if (drawn := plots.overview(record, task, axis))],
        "aided": [drawn for axis in plots.AXES if (drawn := plots.aided(record, task, axis))],
    }
