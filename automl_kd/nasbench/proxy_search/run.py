"""A search over formulas: samplers try sums of statistics, and follow Kendall's tau-b on a few trained accuracies.

It runs in the calling process. Ranks are taken within the whole space and need no labels; a formula is judged on the
labelled architectures only. Each search's formulas are on disk when it ends, under a key of all that it depends on, so
that a run that was interrupted continues, and a changed setting is searched anew.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from automl_kd import spec_names
from automl_kd.config import add_new_fields, to_record
from automl_kd.errors import ConfigError
from automl_kd.experiment.context import Roots
from automl_kd.experiment.progress.events import Watcher
from automl_kd.hashing import hash_json
from automl_kd.nasbench.config import FormulaSearch, ProxyExperiment
from automl_kd.nasbench.proxy_benchmark.rank_correlation import kendall
from automl_kd.nasbench.proxy_search.evaluation import findings
from automl_kd.nasbench.proxy_search.findings import Findings
from automl_kd.nasbench.proxy_search.formula_space import formula, is_short
from automl_kd.nasbench.proxy_search.preparation import OBJECTIVE, FormulaContext, open_proxy_search
from automl_kd.nasbench.proxy_search.record import formula_file, read_formulas, write_formulas
from automl_kd.nasbench.proxy_search.report import write_proxy_report
from automl_kd.nasbench.table.columns import Integers
from automl_kd.results.store.folder import check_folder, lock, open_folder
from automl_kd.samplers import Exhausted, Feasible, Sampler
from automl_kd.space import Architecture
from automl_kd.spec import Outcome

FORMULA_SEARCH_VERSION = 1
"""Part of every key; raised when a search comes to mean something else."""

KEPT = 25
"""So many of the best formulas are told however short the memory: what Optuna's TPE takes for good."""


@dataclass(frozen=True)
class FormulaSearchPiece:
    """One search: who, from which seed, on how many labels, drawn by the seed `sample`."""

    search: FormulaSearch
    seed: int
    labels: int
    sample: int

    def formulas(self, context: FormulaContext) -> int:
        return self.search.trials or context.experiment.proxy.trials

    def key(self, context: FormulaContext) -> str:
        """Of everything that its formulas depend on."""
        asked = context.experiment.proxy
        limits = self.formulas(context), asked.terms, asked.members, asked.penalty
        digest = hashlib.sha256(context.choosing.values.tobytes()).hexdigest()
        stored = spec_names.stored_section(("proxy", "searches", "*"), asdict(self.search))
        search = {name: value for name, value in stored.items() if name not in {"name", "seeds"}}
        parts = [
            FORMULA_SEARCH_VERSION,
            search,
            self.seed,
            self.labels,
            self.sample,
            limits,
            context.names,
            digest,
            statistics_digest(context),
        ]
        return hash_json(parts)


def run_proxy_search(
    experiment: ProxyExperiment, roots: Roots, watcher: Watcher, *, path: Path | None = None, command: str = ""
) -> tuple[Findings, list[Path]]:
    """Carry out all searches of `experiment.proxy`, and write the report; called again, only what is not on disk.

    Returns what was found and the files of the report. `path`: of the table, a file or its folder; None asks the
    environment. Raises an `AutoMLKDError` for what cannot be carried out, before anything is written.
    """
    context = open_proxy_search(experiment, roots.results, path)
    record = to_record(experiment)
    upgrade = partial(add_new_fields, ProxyExperiment)
    check_folder(context.folder, record, upgrade)
    pieces = {piece.key(context): piece for piece in formula_search_pieces(experiment)}
    with lock(context.folder):
        open_folder(context.folder, record, upgrade)
        watcher.stage("searches over formulas", len(pieces), "searches")
        for done, (key, piece) in enumerate(pieces.items()):
            watcher.step(done, f"{piece.search.title}, seed {piece.seed}, {piece.labels} labels")
            if not formula_file(context.folder, key).exists():
                write_formulas(context.folder, key, search_formulas_of(context, piece))
        watcher.stage("judging what was found", 1)
        tried = read_formulas(context.folder, list(pieces))
        found = findings(context, tried)
        return found, write_proxy_report(found, tried, context.folder, command)


def formula_search_pieces(experiment: ProxyExperiment) -> Iterator[FormulaSearchPiece]:
    """All searches on the labels bought; then the first on other numbers of labels, each seed on its own draw."""
    asked, first = experiment.proxy, experiment.seed
    for search in asked.searches:
        for seed in range(first, first + search.seeds):
            yield FormulaSearchPiece(search, seed, asked.labels, first)
    for labels in (*asked.compare_labels, asked.labels) if asked.compare_labels else ():
        for seed in range(first, first + asked.searches[0].seeds):
            yield FormulaSearchPiece(asked.searches[0], seed, labels, seed)


def statistics_digest(context: FormulaContext) -> str:
    return context.statistics[context.tuned.title].digest


def search_formulas_of(context: FormulaContext, piece: FormulaSearchPiece) -> pd.DataFrame:
    """Every formula that a search tries, in order."""
    judge = Judge(context, context.labelled(piece.labels, piece.sample))
    answered: list[tuple[Architecture, float]] = []
    rows: list[dict[str, object]] = []
    start, sampler = time.monotonic(), None
    while len(rows) < piece.formulas(context):
        sampler = informed(context, piece, sampler, answered)
        for number, point in asked(sampler, range(len(rows), piece.formulas(context))[: piece.search.batch]):
            found = judge(point)
            answered.append((point, float(str(found["objective"]))))
            rows.append({"index": number, **found, "seconds": time.monotonic() - start})
            sampler.tell(number, point, formula_outcome(answered[-1][1]))
    return pd.DataFrame(rows).assign(
        search=piece.search.title, seed=piece.seed, labels=piece.labels, sample=piece.sample
    )


def asked(sampler: Sampler, numbers: range) -> list[tuple[int, Architecture]]:
    """The proposals of these numbers, all made before any is answered."""
    try:
        return [(number, sampler.ask(number)) for number in numbers]
    except Exhausted as error:
        raise ConfigError(
            "hardly any formula that is proposed has as few statistics as proxy.members allows; allow more, or fewer "
            "proxy.terms"
        ) from error


def informed(
    context: FormulaContext,
    piece: FormulaSearchPiece,
    before: Sampler | None,
    answered: Sequence[tuple[Architecture, float]],
) -> Sampler:
    """The sampler that knows the answers so far; with a memory, a fresh one that knows the best and the latest."""
    search = piece.search
    if before is not None and not search.memory:
        return before
    sampler = Feasible(
        context.sampler(search.sampler, search.options, piece.seed),
        lambda point: is_short(point, context.experiment.proxy.members),
    )
    best = np.argsort([-value for _, value in answered], kind="stable")[:KEPT].tolist()
    latest = range(max(0, len(answered) - search.memory), len(answered))
    for number in sorted({*best, *latest}):
        sampler.tell(number, answered[number][0], formula_outcome(answered[number][1]))
    return sampler


def formula_outcome(value: float) -> Outcome:
    return Outcome(status="complete", metrics={OBJECTIVE.name: value}, epoch=0)


class Judge:
    """Kendall's tau-b of formulas on labelled architectures, each computed once."""

    def __init__(self, context: FormulaContext, labelled: Integers) -> None:
        statistics = context.statistics[context.tuned.title]
        self.size = statistics.size
        self.shares = {name: share[labelled] for name, share in statistics.shares.items()}
        self.accuracy = context.choosing.values[statistics.rows[labelled]]
        self.penalty = context.experiment.proxy.penalty
        self.known: dict[str, float] = {}

    def __call__(self, point: Architecture) -> dict[str, object]:
        aggregate = formula(point.as_dict())
        text, members = str(aggregate), len(aggregate.members)
        if text not in self.known:
            self.known[text] = kendall(aggregate.sum(self.shares, self.size), self.accuracy)
        tau = self.known[text]
        return {"formula": text, "members": members, "kendall": tau, "objective": tau - self.penalty * members}
