"""An experiment that searches a table of measured architectures instead of training any."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from automl_kd.config import require_name, require_seed
from automl_kd.registry import SLUG, suggestion
from automl_kd.space import Scalar
from automl_kd.spec import require

SIZE_COLUMNS = ("params", "macs")
"""Scores that every table has."""


@dataclass(frozen=True, kw_only=True)
class TableTask:
    """What is searched by and reported on, as columns of the table.

    `name`: lower-case letters, digits and '-'. `choose`: a validation accuracy, or one that serves as such, named in
    full. `early`: a validation accuracy after a shorter training, for halving. `report`: the test accuracy shown.
    `hours` (above 0): simulated times at which searches are compared, ascending.
    """

    name: str
    choose: str
    early: str = ""
    report: str
    hours: tuple[float, ...] = (10.0, 50.0, 100.0)

    def __post_init__(self) -> None:
        require_slug(self.name)
        require_ascending("hours", self.hours)


@dataclass(frozen=True, kw_only=True)
class SamplerRun:
    """A sampler with what helps it.

    `sampler`: what proposes architectures. `name`: as the tables call it; empty makes one of the rest. `options`:
    options of the sampler, by name. `proxy_filter`: the score by which each question is the best of `pool` candidates;
    empty does not filter. `pool` (1 or more): candidates of which the filter takes the best. `warm`: the score by which
    the first `warm_count` questions are the best of `warm_sample` random architectures; empty starts without.
    `warm_count` (1 or more), `warm_sample` (1 or more): sizes of the warm start; the sample is as large as the count,
    or larger. `tries` (1 or more): candidates drawn in the hope of a new one. `trials` (0 or more), `seeds` (0 or
    more): 0 takes the table's. `hours` (0 or more): simulated time after which a seed stops, 0 for no limit.
    """

    sampler: str
    name: str = ""
    options: Mapping[str, Scalar] = field(default_factory=dict)
    proxy_filter: str = ""
    pool: int = 20
    warm: str = ""
    warm_count: int = 10
    warm_sample: int = 1000
    tries: int = 8
    trials: int = 0
    seeds: int = 0
    hours: float = 0.0

    def __post_init__(self) -> None:
        least = min(self.pool, self.warm_count, self.tries)
        require(least >= 1, "pool, warm_count and tries must be 1 or more")
        require(self.warm_sample >= self.warm_count, "warm_sample must be as large as warm_count, or larger")
        require(min(self.trials, self.seeds, self.hours) >= 0, "trials, seeds and hours must be 0 or more")
        require(
            not (self.proxy_filter and self.warm) or self.proxy_filter == self.warm,
            f"proxy_filter and warm must go by one score, got {self.proxy_filter!r} and {self.warm!r}",
        )

    @property
    def aid(self) -> str:
        """How proxies help, in words; empty if they do not."""
        helps = [f"screened by {self.proxy_filter}"] if self.proxy_filter else []
        return ", ".join([*helps, *([f"warm start by {self.warm}"] if self.warm else [])])

    @property
    def title(self) -> str:
        """The name, or what it does."""
        return self.name or ", ".join(filter(None, [self.sampler, self.aid]))


@dataclass(frozen=True, kw_only=True)
class ScoreSource:
    """Where a score of all architectures comes from.

    `file`: a Parquet file, or a folder of scores as `automl-kd score` writes it; searched for in the working folder and
    beside the table. `column`: its name in the file, or the proxy's name where each row has one; empty takes the
    score's name. `dataset`: rows about this dataset, where rows name one; empty takes the task's. `seconds`: the column
    with the time of each score.
    """

    file: str
    column: str = ""
    dataset: str = ""
    seconds: str = ""

    def __post_init__(self) -> None:
        require(bool(self.file), "file of a score must name a Parquet file or a folder of scores")


@dataclass(frozen=True, kw_only=True)
class TrainingFree:
    """Evolution led by a score alone; the `top` best of its history are then compared by the accuracy to choose by.

    `scores`: one search each; "random" takes `top` random architectures. `trials` (1 or more): architectures scored.
    `population` (1 or more): size of the evolution's population. `tournament` (1 or more): members drawn for a parent.
    `parents` (1 or more): the parent is a random one of so many best in a tournament. `top` (1 or more): compared by
    accuracy; at most `trials`.
    """

    scores: tuple[str, ...] = ()
    trials: int = 1000
    population: int = 36
    tournament: int = 8
    parents: int = 1
    top: int = 5

    def __post_init__(self) -> None:
        require(1 <= self.top <= self.trials, "top must lie in 1 to trials")
        require(min(self.population, self.tournament) >= 1, "population and tournament must be 1 or more")
        require(1 <= self.parents <= self.tournament, "parents must lie in 1 to tournament")
        require_distinct("scores", self.scores)


@dataclass(frozen=True, kw_only=True)
class Tradeoff:
    """Accuracy against latency: fronts that `samplers` find for each of `devices`, on the first task.

    `devices`: columns of latencies; empty compares none. `samplers`: that find fronts. `trials` (1 or more): trainings
    of each. `proxy_filter`: a score by which each sampler is filtered, once more beside its plain self; empty does not.
    `pool` (1 or more): candidates of which the filter takes the best. `points` (above 0): the worst test accuracy that
    counts lies so many percentage points below the best.
    """

    devices: tuple[str, ...] = ()
    samplers: tuple[str, ...] = ("random", "nsga2", "scalarised")
    trials: int = 300
    proxy_filter: str = ""
    pool: int = 20
    points: float = 10.0

    def __post_init__(self) -> None:
        require(min(self.trials, self.pool) >= 1, "trials and pool must be 1 or more")
        require(self.points > 0, f"points must lie above 0, got {self.points}")
        require_distinct("devices", self.devices)
        require_distinct("samplers", self.samplers)


@dataclass(frozen=True, kw_only=True)
class TableSearch:
    """Searches of a NAS-Bench-201 table in the calling process.

    `seeds` (1 or more): how many of each search, from the experiment's on. `trials` (1 or more): trainings that each
    may ask about. `compare` (above 0): numbers of them at which searches are compared, ascending; those that
    no search comes to are left out, or where these are all, the last that it comes to is taken. `tasks`: what is
    searched by. `runs`: samplers that are compared. `scores`: scores of all architectures, by name, for filters and
    warm starts.
    """

    seeds: int = 200
    trials: int = 300
    compare: tuple[int, ...] = (30, 100, 300)
    tasks: tuple[TableTask, ...] = ()
    runs: tuple[SamplerRun, ...] = ()
    scores: Mapping[str, ScoreSource] = field(default_factory=dict)
    training_free: TrainingFree = field(default_factory=TrainingFree)
    tradeoff: Tradeoff = field(default_factory=Tradeoff)

    def __post_init__(self) -> None:
        require(min(self.seeds, self.trials) >= 1, "seeds and trials must be 1 or more")
        require_ascending("compare", self.compare)
        require_distinct("tasks", [one.name for one in self.tasks])
        require_distinct("runs", [one.title for one in self.runs])
        require(bool(self.tasks), "searches need a task; add [[table.tasks]] with choose and report")
        for name in self.scores:
            require_slug(name)
            require(name not in (*SIZE_COLUMNS, "random"), f"scores.{name} has a name that is taken; choose another")
        known = (*SIZE_COLUMNS, *self.scores)
        asked = [name for run in self.runs for name in (run.proxy_filter, run.warm)]
        for name in filter(None, [*asked, self.tradeoff.proxy_filter]):
            require_score(name, known)
        for name in self.training_free.scores:
            require_score(name, (*known, "random"))


@dataclass(frozen=True, kw_only=True)
class TableExperiment:
    """Searches of a table.

    `name`: letters, digits, '.', '_' and '-'; it also names the folder of their results. `space`: the architectures.
    `seed` (0 to 999999): random seed, the first of each search.
    """

    name: str
    space: str
    seed: int = 0
    table: TableSearch

    def __post_init__(self) -> None:
        require_name(self.name)
        require_seed(self.seed)


def require_score(name: str, known: Sequence[str]) -> None:
    require(name in known, f"no score is called {name!r}; {suggestion(name, known)}, or add scores.{name}")


def require_slug(name: str) -> None:
    require(
        re.fullmatch(SLUG, name) is not None,
        f"a name must be at most 50 lower-case letters, digits or '-', got {name!r}",
    )


def require_distinct(key: str, names: Sequence[str]) -> None:
    repeated = [name for place, name in enumerate(names) if name in names[:place]]
    require(not repeated, f"{key} must have distinct names, got {', '.join(repeated)} twice")


def require_ascending(key: str, numbers: Sequence[float]) -> None:
    rising = bool(numbers) and numbers[0] > 0 and all(one < other for one, other in itertools.pairwise(numbers))
    require(rising, f"{key} must be one or more numbers above 0, ascending, got {list(numbers)}")
