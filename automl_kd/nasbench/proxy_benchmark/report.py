"""Makes the proxy benchmark and its files from scores on disk and tables of accuracies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from automl_kd.errors import ResultError
from automl_kd.nasbench.proxy_benchmark.benchmark import (
    MIN_ARCHITECTURES,
    ProxyBenchmark,
    Target,
    judge_entries,
    known_rows,
)
from automl_kd.nasbench.proxy_benchmark.page import Groups, write_benchmark
from automl_kd.nasbench.proxy_benchmark.scores import ProxyScores, arrange, read_long
from automl_kd.nasbench.proxy_benchmark.targets import of_s1, of_table
from automl_kd.nasbench.table.other_networks import without_others
from automl_kd.nasbench.table.table import Table, find_table
from automl_kd.results.store.folder import require_writable


def run_proxy_benchmark(
    paths: Sequence[Path],
    out: Path,
    *,
    nasbench201: Path | None = None,
    s1: Path | None = None,
    devices: Sequence[str] | None = None,
    command: str = "",
    on_target: Callable[[str, int], None] = lambda *_: None,
) -> tuple[ProxyBenchmark, list[Path]]:
    """Judge all scores in `paths` against the table, and against S1 if its file is given; the files written to `out`.

    `devices`: as `of_table` takes them. `on_target` is called for each target with the number of its scores. Raises
    `ResultError` if no scored architecture is in either. The notes name the scores and targets that were left out.
    """
    require_writable(out)
    table = Table.load(find_table(nasbench201))
    targets = of_table(table, devices)
    scores = read_long(paths)
    ours, others = without_others(scores, table)
    groups = [(arrange(ours, table.arch_str), targets)]
    if s1 is not None:
        students = of_s1(s1, scores)
        groups.append((arrange(scores, students[0].labels), students))
    groups = [(entries, targets) for entries, targets in groups if entries]
    if not groups and others:
        raise ResultError(others[0])
    if not groups:
        raise ResultError(
            f"none of the architectures scored in {paths[0]} (of {', '.join(sorted(scores['space'].unique()))}) has a "
            "known accuracy; score search_spaces.nasbench201:SPACE, or name the file of S1's accuracies by --s1"
        )
    benchmark = judge_groups(groups, on_target)._replace(notes=(*others, *left_out(groups)))
    if benchmark.proxies.empty or not benchmark.proxies["space"].any():  # sizes alone have no space
        raise ResultError(
            f"{paths[0]} scores too few architectures of known accuracy and size; score {MIN_ARCHITECTURES} or more"
        )
    return benchmark, write_benchmark(benchmark, groups, out, command)


def judge_groups(groups: Groups, on_target: Callable[[str, int], None]) -> ProxyBenchmark:
    """Merge the targets of all groups into one benchmark."""
    panels = []
    for entries, targets in groups:
        for target in targets:
            on_target(target.title, len(entries))
            panels.append(judge_entries(entries, [target]))
    proxies = pd.concat([one.proxies for one in panels], ignore_index=True)
    return ProxyBenchmark(proxies, pd.concat([one.regrets for one in panels], ignore_index=True))


def left_out(groups: Groups) -> list[str]:
    """A sentence for each target about which too little is known, and for each entry that stands for several."""
    targets = [target for _, targets in groups for target in targets]
    entries = [one for entries, _ in groups for one in entries if one.narrower]
    return [
        *(too_little(one) for one in targets if known_rows(one).sum() < MIN_ARCHITECTURES),
        *dict.fromkeys(one_of_several(one) for one in entries),
    ]


def too_little(target: Target) -> str:
    return (
        f"{target.title} is left out: accuracy, parameters and FLOPs are all on record for {known_rows(target).sum()} "
        f"of its architectures, and {MIN_ARCHITECTURES} or more are judged."
    )


def one_of_several(one: ProxyScores) -> str:
    others = " and ".join(f"{among:,}" if among else "an unknown number" for among in one.narrower)
    return (
        f"{one.proxy} on {one.dataset}: scores whose ranks were taken within {one.among:,} architectures are judged, "
        f"and those within {others} are left out."
    )
