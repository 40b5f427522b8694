"""Making a search over formulas ready: scores, accuracies and searches are found and checked before any runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from automl_kd.errors import ConfigError, UnknownNameError
from automl_kd.files import expand
from automl_kd.nasbench.config import ProxyExperiment
from automl_kd.nasbench.proxy_benchmark.benchmark import Target
from automl_kd.nasbench.proxy_benchmark.scores import ProxyScores, arrange, read_long
from automl_kd.nasbench.proxy_benchmark.targets import of_s1, of_table
from automl_kd.nasbench.proxy_search.formula_space import formula_space
from automl_kd.nasbench.proxy_search.statistics import Statistics, chosen_entries, statistics_of
from automl_kd.nasbench.table.columns import Integers
from automl_kd.nasbench.table.other_networks import without_others
from automl_kd.nasbench.table.table import Choosing, Table, find_table
from automl_kd.proxies import aggregate_of
from automl_kd.registry import suggestion
from automl_kd.samplers import Sampler, SearchObjective, make_sampler
from automl_kd.space import Scalar, SearchSpace

OBJECTIVE = SearchObjective("kendall", maximise=True)


@dataclass(frozen=True, eq=False, kw_only=True)
class FormulaContext:
    """A search over formulas, checked.

    `names`: the statistics to compose. `targets`: what is reported on, NAS-Bench-201 first; `statistics`: of each, by
    its title, as far as they were scored there. `tuned`: the target whose dataset has the labels.
    """

    experiment: ProxyExperiment
    table: Table
    choosing: Choosing
    names: tuple[str, ...]
    targets: tuple[Target, ...]
    statistics: Mapping[str, Statistics]
    folder: Path

    @property
    def tuned(self) -> Target:
        return next(one for one in self.targets if one.dataset == self.choosing.accuracy.dataset)

    @property
    def space(self) -> SearchSpace:
        return formula_space(self.names, self.experiment.proxy.terms)

    def sampler(self, name: str, options: Mapping[str, Scalar], seed: int) -> Sampler:
        return make_sampler(name, self.space, objectives=[OBJECTIVE], seed=seed, options=options)

    def labelled(self, count: int, seed: int) -> Integers:
        """Places, within the statistics of the tuned target, of `count` architectures whose label is bought."""
        rows = np.random.default_rng(seed).permutation(self.statistics[self.tuned.title].size)[:count]
        return np.sort(rows)


def open_proxy_search(experiment: ProxyExperiment, results: Path, path: Path | None) -> FormulaContext:
    """Find and check all that `experiment.proxy` names; an `AutoMLKDError` says what cannot be done. Writes nothing.

    `path`: of the table, a file or its folder; None asks the environment.
    """
    asked = experiment.proxy
    table = Table.load(find_table(path))
    choosing = table.choosing_named(asked.choose)
    targets = of_table(table, devices=())
    tuned = next(one for one in targets if one.dataset == choosing.accuracy.dataset)
    scores, others = without_others(read_long([locate_scores(asked.scores, table, "scores")]), table)
    entries = arrange(scores, table.arch_str)
    if not entries and others:
        raise ConfigError(others[0])
    if not entries:
        raise ConfigError(
            f"{asked.scores} scores no architecture of {table.path}; make scores with 'automl-kd score "
            "search_spaces.nasbench201:SPACE --sample 0'"
        )
    dataset = asked.dataset or choosing.accuracy.dataset
    names = names_of(experiment, chosen_entries(entries, tuned, dataset))
    statistics = {one.title: compose_statistics(entries, one, dataset, names) for one in targets}
    if asked.s1:
        scores = read_long([locate_scores(asked.s1_scores, table, "s1_scores")])
        students = of_s1(locate_scores(asked.s1, table, "s1"), scores)
        found = arrange(scores, students[0].labels)
        statistics |= {one.title: compose_statistics(found, one, dataset, names) for one in students}
        targets += students
    context = FormulaContext(
        experiment=experiment,
        table=table,
        choosing=choosing,
        names=names,
        targets=tuple(targets),
        statistics=statistics,
        folder=results / experiment.name,
    )
    require_labels(context)
    for one in asked.searches:
        context.sampler(one.sampler, one.options, experiment.seed)
    return context


def locate_scores(file: str, table: Table, key: str) -> Path:
    """In the working folder, or beside the table."""
    given = expand(file)
    for path in (given, table.path.parent / given):
        if path.exists():
            return path
    raise ConfigError(
        f"proxy.{key} is {file}, which is neither in {Path.cwd()} nor beside {table.path}; make it with 'automl-kd "
        f"score', or name another by --set proxy.{key}=PATH"
    )


def names_of(experiment: ProxyExperiment, scored: Mapping[str, ProxyScores]) -> tuple[str, ...]:
    """The statistics to compose, in the order of their names; aggregates only if they are asked for."""
    asked = experiment.proxy
    for name in (*asked.statistics, *asked.without):
        if name not in scored:
            raise UnknownNameError(f"no scores of {name!r} are there; {suggestion(name, scored)}, or score it too")
    single = [name for name in scored if aggregate_of(name) is None]
    names = tuple(sorted(set(asked.statistics or single) - set(asked.without)))
    if len(names) < 2:
        raise ConfigError(f"proxy leaves {len(names)} statistics to compose, and two or more were wanted; score more")
    return names


def compose_statistics(
    entries: Sequence[ProxyScores], target: Target, dataset: str, names: Sequence[str]
) -> Statistics:
    """Of those of `names` that were scored."""
    chosen = chosen_entries(entries, target, dataset)
    return statistics_of({name: chosen[name] for name in names if name in chosen}, target)


def require_labels(context: FormulaContext) -> None:
    """Refuse more labels than there are architectures that all statistics were asked about."""
    asked, there = context.experiment.proxy, context.statistics[context.tuned.title].size
    if (most := max(asked.labels, *asked.compare_labels, 0)) > there:
        raise ConfigError(
            f"proxy asks for {most:,} labels, and {there:,} architectures are in the table and scored by all "
            "statistics; ask for fewer, or score all with --sample 0"
        )
