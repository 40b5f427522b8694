"""An experiment that searches for a proxy: a formula of statistics that need no training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from automl_kd.config import require_name, require_seed
from automl_kd.space import Scalar
from automl_kd.spec import require


@dataclass(frozen=True, kw_only=True)
class FormulaSearch:
    """One sampler, by name and options, tried with so many seeds from the experiment's on.

    `sampler`: what proposes formulas. `name`: as the tables call it; empty takes the sampler's. `seeds` (1 or more):
    how many searches. `trials` (0 or more): formulas tried, 0 for as many as the others. `options`: options of the
    sampler, by name. `batch` (1 or more): formulas asked for at once, before any of them is answered. `memory` (0 or
    more): it is told the best few of earlier answers and so many of the latest, 0 for all; a sampler that models all
    takes longer the more it knows.
    """

    sampler: str
    name: str = ""
    seeds: int = 3
    trials: int = 0
    options: Mapping[str, Scalar] = field(default_factory=dict)
    batch: int = 1
    memory: int = 0

    def __post_init__(self) -> None:
        require(min(self.seeds, self.batch) >= 1, "seeds and batch must be 1 or more")
        require(min(self.memory, self.trials) >= 0, "memory and trials must be 0 or more")

    @property
    def title(self) -> str:
        return self.name or self.sampler


@dataclass(frozen=True, kw_only=True)
class ProxySearch:
    """A search over formulas on NAS-Bench-201.

    `scores`: a folder or file that `automl-kd score` wrote, searched for in the working folder and beside the table.
    `dataset`: whose images the statistics were made on, where several were scored; empty takes that of `choose`.
    `statistics`: those to compose, all that are scored if empty. `without`: those to leave out in any case. `choose`:
    the accuracy followed, named in full. `labels` (10 or more): how many architectures, drawn from the space, show
    their accuracy. `trials` (1 or more): formulas that each search tries. `terms` (1 to 20), `members` (1 or more): the
    most in a formula. `penalty` (0 or more, below 1): taken from the correlation for each member. `searches`: samplers
    to compare. `compare_labels` (10 or more): other numbers of labels, tried by the first of `searches`. `s1`:
    accuracies of DisWOT's 64 students, to report on as well. `s1_scores`: the scores of their space.
    """

    scores: str = ""
    dataset: str = ""
    statistics: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    choose: str = ""
    labels: int = 1000
    trials: int = 2000
    terms: int = 5
    members: int = 6
    penalty: float = 0.0
    searches: tuple[FormulaSearch, ...] = ()
    compare_labels: tuple[int, ...] = ()
    s1: str = ""
    s1_scores: str = ""

    def __post_init__(self) -> None:
        require(self.trials >= 1, f"trials must be 1 or more, got {self.trials}")
        require(1 <= self.terms <= 20 and self.members >= 1, "terms must lie in 1 to 20, and members be 1 or more")
        require(min((self.labels, *self.compare_labels)) >= 10, "labels and compare_labels must be 10 or more")
        require(0 <= self.penalty < 1, f"penalty must lie in 0 to 1, got {self.penalty}")
        require(bool(self.s1) == bool(self.s1_scores), "s1 and s1_scores go together; give both or neither")
        titles = [one.title for one in self.searches]
        require(len(set(titles)) == len(titles), f"searches must have distinct names, got {', '.join(titles)}")
        require(bool(self.scores), "a search needs scores: a folder or file that 'automl-kd score' wrote")
        require(bool(self.choose), "scores need choose, such as cifar10_valid_acc_12")
        require(bool(self.searches), "scores need searches; add [[proxy.searches]] with a sampler")


@dataclass(frozen=True, kw_only=True)
class ProxyExperiment:
    """A search for a proxy.

    `name`: letters, digits, '.', '_' and '-'; it also names the folder of its results. `space`: the architectures.
    `seed` (0 to 999999): random seed, the first of each search.
    """

    name: str
    space: str
    seed: int = 0
    proxy: ProxySearch

    def __post_init__(self) -> None:
        require_name(self.name)
        require_seed(self.seed)
