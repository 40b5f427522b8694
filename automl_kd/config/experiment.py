"""An experiment as one record, with what of its teaching may vary."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import pydantic

from automl_kd.config.comparison import ComparisonSection
from automl_kd.config.proxy import ProxySearch
from automl_kd.config.range import Range
from automl_kd.config.sections import POPULATIONS, SEEDS, Budget, Finalists, Resources, SearchSection
from automl_kd.config.tabular import TableSearch
from automl_kd.space import Scalar
from automl_kd.spec import DataSpec, Recipe, TeacherCacheOptions, TeacherSpec, require, require_shares

SHARED_FOLDERS = ("teachers", "scores", "damaged")
"""Folders beside those of experiments, in any case of letters, as some file systems know one alone."""


def tag_of(value: Any) -> str:
    """In brackets, which no key of ours holds, so that `parse` can leave it out of what it says."""
    return "[range]" if isinstance(value, Mapping | Range) else "[values]"


Knob = Annotated[
    Annotated[tuple[Scalar, ...], pydantic.Tag("[values]")] | Annotated[Range, pydantic.Tag("[range]")],
    pydantic.Discriminator(tag_of),
]
"""What a parameter of `hyperparameters` may be: one of several values, or a number in a range."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One search, or one comparison of methods, from its teacher to its leaderboard.

    `name` also names the folder of its results.
    `hyperparameters`: what of the teaching is searched together with the student: "method" among several,
    "method.OPTION", and "method.losses.NAME" for the weight of one loss in a sum. `options` are of every method that
    has them.
    """

    name: str
    space: str
    method: str = "kd"
    options: Mapping[str, Scalar] = field(default_factory=dict)
    hyperparameters: Mapping[str, Knob] = field(default_factory=dict)
    seed: int = 0
    data: DataSpec = field(default_factory=DataSpec)
    teacher: TeacherSpec = field(default_factory=TeacherSpec)
    recipe: Recipe = field(default_factory=Recipe)
    budget: Budget = field(default_factory=Budget)
    search: SearchSection = field(default_factory=SearchSection)
    trial: Resources = field(default_factory=Resources)
    teacher_cache: TeacherCacheOptions = field(default_factory=TeacherCacheOptions)
    finalists: Finalists = field(default_factory=Finalists)
    comparison: ComparisonSection = field(default_factory=ComparisonSection)
    table: TableSearch = field(default_factory=TableSearch)
    proxy: ProxySearch = field(default_factory=ProxySearch)

    def __post_init__(self) -> None:
        require(
            re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", self.name) is not None,
            f"name must be at most 100 letters, digits, '.', '_' or '-', as it names a folder; got {self.name!r}",
        )
        require(
            self.name.lower() not in SHARED_FOLDERS,
            f"name is {self.name!r}, and the folder of that name is shared by all experiments; take another",
        )
        require(
            not self.comparison.methods or self.comparison.tuning_seeds <= len(self.finalists.seeds),
            f"comparison.tuning_seeds is {self.comparison.tuning_seeds}, more than the {len(self.finalists.seeds)} of "
            "finalists.seeds",
        )
        require_shares(self.recipe, self.trial.workers, "recipe.")
        if not self.teacher.checkpoint:
            require_shares(self.teacher.recipe, self.trial.workers, "teacher.recipe.")
        require(0 <= self.seed < SEEDS, f"seed must lie in 0 to {SEEDS - 1}, got {self.seed}")
        for name, knob in self.hyperparameters.items():
            distinct = isinstance(knob, Range) or len(set(knob)) == len(knob) >= 1
            require(distinct, f"hyperparameters.{name} needs one or more distinct values, got {knob}")
        require(
            not self.hyperparameters or not self.comparison.methods,
            "hyperparameters are for a search and comparison.methods for a comparison without one; keep one of them",
        )
        population = self.search.scheduler in POPULATIONS and not self.comparison.methods
        require(
            not (population and self.hyperparameters),
            f"hyperparameters are for proposals, and search.scheduler = '{self.search.scheduler}' changes what "
            "search.perturb names; keep one of them",
        )
        require(
            not population or self.search.interval < self.recipe.epochs,
            f"search.interval is {self.search.interval}, so that nothing changes within the {self.recipe.epochs} of "
            "recipe.epochs; make it smaller",
        )
        require(
            self.search.scheduler != "hyperband" or self.trial.workers == 1,
            "search.scheduler = 'hyperband' pauses trials of one process, and trial.workers is "
            f"{self.trial.workers}; set it to 1 or take another scheduler",
        )
        require(
            self.search.scheduler != "hyperband" or not self.trial.max_concurrent,
            "search.scheduler = 'hyperband' needs room for trials that wait beside those that run; leave "
            "trial.max_concurrent at 0, and raise trial.cpus to run fewer at once",
        )
        require(
            not self.table.tasks or not (self.comparison.methods or self.hyperparameters),
            "table is for searches that train nothing; keep it, or hyperparameters and comparison.methods",
        )
        require(
            not self.proxy.scores or not (self.table.tasks or self.comparison.methods or self.hyperparameters),
            "proxy is for a search over formulas; keep it, or table, hyperparameters and comparison.methods",
        )
