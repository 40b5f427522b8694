"""The files of the proxy benchmark: Parquet, Markdown and one HTML page that needs no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
from markupsafe import Markup

from automl_kd import storage
from automl_kd.nasbench.proxy_benchmark import plots as benchmark_plots
from automl_kd.nasbench.proxy_benchmark.benchmark import BASELINE, ProxyBenchmark, Target, for_target
from automl_kd.nasbench.proxy_benchmark.published import published_sheet, source
from automl_kd.nasbench.proxy_benchmark.scores import WAY, ProxyScores
from automl_kd.nasbench.proxy_benchmark.sheets import (
    NOTES,
    PICKS_NOTE,
    add_titles,
    benchmark_markdown,
    benchmark_sheet,
    budget_regret_sheet,
    scoring_effort_sheet,
    target_sentence,
)
from automl_kd.results.sheet import without_html
from automl_kd.results.store import parquet
from automl_kd.results.templates import load_template

SHOWN_SCATTERS = 11
"""Scores with a scatter plot, besides the number of parameters: the best of each target."""

Groups = Sequence[tuple[Sequence[ProxyScores], Sequence[Target]]]


def write_benchmark(benchmark: ProxyBenchmark, groups: Groups, out: Path, command: str) -> list[Path]:
    """Write `panel.parquet`, `panel_regret.parquet`, `panel.md` and `panel.html` to the folder `out`; their paths."""
    tables = {"panel.parquet": benchmark.proxies, "panel_regret.parquet": benchmark.regrets}
    for name, frame in tables.items():
        parquet.write_parquet(pa.Table.from_pandas(frame, preserve_index=False), out / name)
    texts = {
        "panel.md": without_html(benchmark_markdown(benchmark, command)),
        "panel.html": render_page(benchmark, groups, command),
    }
    for name, text in texts.items():
        storage.write(out / name, text)
    return [out / name for name in (*tables, *texts)]


def render_page(benchmark: ProxyBenchmark, groups: Groups, command: str) -> str:
    """The page as text."""
    shown = ProxyBenchmark(add_titles(benchmark.proxies), add_titles(benchmark.regrets))
    targets = [(entries, target) for entries, targets in groups for target in targets]
    named = set(shown.proxies["target"])
    return load_template(Path(__file__).with_name("page.html")).render(
        sentences=[target_sentence(rows) for _, rows in shown.proxies.groupby("target", sort=False, observed=True)],
        overviews=[benchmark_plots.plot_correlations(rows) for rows in by_group(shown.proxies, groups)],
        views=[target_view(shown, entries, target) for entries, target in targets if target.title in named],
        left_out=benchmark.notes,
        notes=NOTES,
        regret_note=PICKS_NOTE,
        published=published_sheet(),
        source=source(),
        command=command,
    )


def by_group(rows: pd.DataFrame, groups: Groups) -> list[pd.DataFrame]:
    parts = [rows[rows["target"].isin([target.title for target in targets])] for _, targets in groups]
    return [part for part in parts if len(part)]


def target_view(benchmark: ProxyBenchmark, entries: Sequence[ProxyScores], target: Target) -> Mapping[str, object]:
    """What the template shows of one target."""
    rows = benchmark.proxies[benchmark.proxies["target"] == target.title]
    lost = benchmark.regrets[benchmark.regrets["target"] == target.title]
    return {
        "title": target.title,
        "accuracy": rows["accuracy"].iloc[0],
        "sheet": benchmark_sheet(rows),
        "effort": scoring_effort_sheet(rows),
        "regrets": budget_regret_sheet(lost, list(rows["title"])),
        "cost": benchmark_plots.plot_cost(rows),
        "scatter": target_scatter(rows, entries, target),
    }


def target_scatter(rows: pd.DataFrame, entries: Sequence[ProxyScores], target: Target) -> Markup:
    """The best few scores of a target and the number of parameters."""
    found = {tuple(getattr(one, name) for name in WAY): one for one in for_target(entries, target)}
    best = pd.concat([rows[rows["proxy"] == BASELINE].head(1), rows[rows["proxy"] != BASELINE].head(SHOWN_SCATTERS)])
    chosen = [found[tuple(row[name] for name in WAY)] for row in best.to_dict("records")]
    return benchmark_plots.plot_scatter(chosen, list(best["title"]), target)
