"""The report on a proxy found by search: Markdown, one HTML page without network, and Parquet."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from automl_kd import storage
from automl_kd.nasbench.proxy_benchmark.published import source
from automl_kd.nasbench.proxy_search import plots as proxy_plots
from automl_kd.nasbench.proxy_search import sentences as proxy_words
from automl_kd.nasbench.proxy_search.findings import Findings
from automl_kd.nasbench.proxy_search.record import write_frame
from automl_kd.results.report.leaderboard import made_by
from automl_kd.results.sheet import Sheet, without_html
from automl_kd.results.templates import load_template

ReportPart = tuple[str, str, Sheet]
"""A title, what to know about the table, and the table."""


def write_proxy_report(found: Findings, tried: pd.DataFrame, folder: Path, command: str) -> list[Path]:
    """Write leaderboard.md, leaderboard.html, proxy.parquet and formulas.parquet to `folder`; their paths.

    `tried`: every formula of every search.
    """
    frames = {"proxy.parquet": found.judged, "formulas.parquet": tried}
    for name, frame in frames.items():
        write_frame(folder / name, frame)
    texts = {
        "leaderboard.md": without_html(markdown(found, command)),
        "leaderboard.html": render_proxy_page(found, tried, command),
    }
    for name, text in texts.items():
        storage.write(folder / name, text)
    return [folder / name for name in (*frames, *texts)]


def report_parts(found: Findings) -> list[ReportPart]:
    """All tables in the order in which they are shown."""
    tables: list[ReportPart] = []
    for family, rows in found.tables.items():
        title = f"{family}: Kendall" if len(found.tables) > 1 else "Kendall"
        tables.append((title, proxy_words.RANKING_NOTE, proxy_words.ranking(rows, "kendall")))
        tables.append((title.replace("Kendall", "Spearman"), "", proxy_words.ranking(rows, "spearman")))
    tables += [
        ("How it generalises", proxy_words.GENERALITY_NOTE, proxy_words.generality_sheet(found)),
        ("What it is made of", proxy_words.MEMBERS_NOTE, proxy_words.members_sheet(found)),
        ("The searches", proxy_words.SEARCHES_NOTE, proxy_words.searches(found)),
    ]
    if len(found.numbers):
        tables.append(("How many labels it takes", proxy_words.NUMBERS_NOTE, proxy_words.label_count_sheet(found)))
    return [*tables, ("The formula of each search", "", proxy_words.formulas(found))]


def markdown(found: Findings, command: str) -> str:
    lines = [f"{made_by(command)}\n", f"# {found.name}\n", *(f"{one}\n" for one in proxy_words.write_sentences(found))]
    for title, note, sheet in report_parts(found):
        lines += [f"## {title}\n", *([f"{note}\n"] if note else []), sheet.to_markdown()]
    lines += ["## How to read it\n", "".join(f"- {note}\n" for note in proxy_words.notes(found))]
    lines += ["".join(f"- {name}: {text}\n" for name, text in found.provenance.items())]
    return "\n".join(lines)


def render_proxy_page(found: Findings, tried: pd.DataFrame, command: str) -> str:
    """The page as text."""
    ours = tried[(tried["labels"] == found.labels) & (tried["sample"] == tried["sample"].iloc[0])]
    return load_template(Path(__file__).with_name("page.html")).render(
        name=found.name,
        sentences=proxy_words.write_sentences(found),
        dots=[proxy_plots.plot_rankings(rows) for rows in found.tables.values()],
        progress=proxy_plots.progress(ours),
        parts=report_parts(found),
        notes=proxy_words.notes(found),
        provenance=found.provenance,
        source=source(),
        command=command,
    )
