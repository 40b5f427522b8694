"""An experiment as one record, with what of its teaching may vary."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Annotated, Any

import pydantic

from automl_kd.config.comparison import ComparisonSection
from automl_kd.config.published import PublishedFigure
from automl_kd.config.range import Range
from automl_kd.config.sections import (
    POPULATIONS,
    SEEDS,
    Budget,
    ExportSection,
    Finalists,
    Resources,
    SearchSection,
    StudentSection,
)
from automl_kd.config.stand_in import StandInSection
from automl_kd.hashing import hash_json
from automl_kd.registry import suggestion
from automl_kd.space import Scalar
from automl_kd.spec import (
    INT8_ACCURACY,
    DataSpec,
    LoaderOptions,
    Recipe,
    TeacherCacheOptions,
    TeacherSpec,
    require,
    require_shares,
)

MOST_LETTERS = 100
"""Letters of the name of an experiment."""

SHARED_FOLDERS = ("teachers", "scores", "damaged")
"""Folders beside those of experiments, in any case of letters, as some file systems know one alone."""


def tag_of(value: Any) -> str:
    """In brackets, which no key of ours holds, so that `parse` can leave it out of what it says."""
    return "[range]" if isinstance(value, Mapping | Range) else "[values]"


HyperparameterDomain = Annotated[
    Annotated[tuple[Scalar, ...], pydantic.Tag("[values]")] | Annotated[Range, pydantic.Tag("[range]")],
    pydantic.Discriminator(tag_of),
]
"""What a parameter of `hyperparameters` may be: one of several values, or a number in a range."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One search, or one comparison of methods, from its teacher to its leaderboard.

    `name`: letters, digits, '.', '_' and '-'; it also names the folder of its results. `space`: the students:
    module:ATTRIBUTE, such as search_spaces.resnet:SPACE, or model:NAME for one student; 'automl-kd show spaces' lists
    some. `method`: how students are taught; 'automl-kd show methods' lists them. `options`: options of methods, by
    name; each takes those that it has. `hyperparameters`: what of the teaching is searched together with the student:
    "method" among several, "method.OPTION", "method.losses.NAME" for the weight of one loss in a sum, "recipe.FIELD"
    for what of the recipe does not decide what an epoch costs, and "student.init"; each a list of values or a range
    such as { low = 0.1, high = 0.9 }. `seed` (0 to 999999): random seed of the search: what is
    proposed, and how its trials begin. `expected_images` (0 or more): how many training images the data have with those
    of validation; others are refused, as those of a set that was not copied whole. 0 takes any number. `published`:
    what others have published, shown beside our figures.
    """

    name: str
    space: str
    method: str = "kd"
    options: Mapping[str, Scalar] = field(default_factory=dict)
    hyperparameters: Mapping[str, HyperparameterDomain] = field(default_factory=dict)
    seed: int = 0
    expected_images: int = 0
    data: DataSpec = field(default_factory=DataSpec)
    teacher: TeacherSpec = field(default_factory=TeacherSpec)
    recipe: Recipe = field(default_factory=Recipe)
    student: StudentSection = field(default_factory=StudentSection)
    budget: Budget = field(default_factory=Budget)
    search: SearchSection = field(default_factory=SearchSection)
    export: ExportSection = field(default_factory=ExportSection)
    trial: Resources = field(default_factory=Resources)
    teacher_cache: TeacherCacheOptions = field(default_factory=TeacherCacheOptions)
    loader: LoaderOptions = field(default_factory=LoaderOptions)
    finalists: Finalists = field(default_factory=Finalists)
    comparison: ComparisonSection = field(default_factory=ComparisonSection)
    stand_in: StandInSection = field(default_factory=StandInSection)
    published: tuple[PublishedFigure, ...] = ()

    def __post_init__(self) -> None:
        require_name(self.name)
        require_seed(self.seed)
        require(self.expected_images >= 0, f"expected_images must be 0 (any) or more, got {self.expected_images}")
        require_known_methods(self.published, self.comparison)
        require_shares(self.recipe, self.trial.workers, "recipe.")
        if not self.teacher.checkpoint:
            require_shares(self.teacher.recipe, self.trial.workers, "teacher.recipe.")
        require_distinct_values(self.hyperparameters)
        require_measured(self.search, self.export)
        if self.comparison.methods:
            require_comparison(self)
        elif self.search.scheduler in POPULATIONS:
            require_population(self)
        if self.search.scheduler == "hyperband":
            require_room_to_pause(self.trial)


def require_known_methods(published: Sequence[PublishedFigure], comparison: ComparisonSection) -> None:
    """Refuse a published figure of a method that is not compared."""
    names = [one.name for one in comparison.methods]
    for one in published:
        if one.method and one.method not in names:
            hint = suggestion(one.method, names) if names else "leave method out, as nothing is compared here"
            raise ValueError(f"published figure {one.title!r} is of method {one.method!r}; {hint}")


def make_name(text: str) -> str:
    """`text` as a name that `require_name` takes, itself if it is one; of a name cut short a hash is the end."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text).lstrip("._-") or f"experiment-{hash_json(text, digits=8)}"
    return plain if len(plain) <= MOST_LETTERS else f"{plain[: MOST_LETTERS - 9]}-{hash_json(text, digits=8)}"


def require_name(name: str) -> None:
    """Refuse a name that cannot be one of a folder of results."""
    require(
        re.fullmatch(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MOST_LETTERS - 1}}}", name) is not None,
        f"name must be at most {MOST_LETTERS} letters, digits, '.', '_' or '-', as it names a folder; got {name!r}",
    )
    require(
        name.lower() not in SHARED_FOLDERS,
        f"name is {name!r}, and the folder of that name is shared by all experiments; take another",
    )


def require_seed(seed: int) -> None:
    require(0 <= seed < SEEDS, f"seed must lie in 0 to {SEEDS - 1}, got {seed}")


def require_distinct_values(hyperparameters: Mapping[str, HyperparameterDomain]) -> None:
    for name, values_or_range in hyperparameters.items():
        distinct = isinstance(values_or_range, Range) or len(set(values_or_range)) == len(values_or_range) >= 1
        require(distinct, f"hyperparameters.{name} needs one or more distinct values, got {values_or_range}")


def require_measured(search: SearchSection, export: ExportSection) -> None:
    """Refuse to follow the accuracy in eight bits where no trial measures it."""
    require(
        export.int8 or INT8_ACCURACY not in {one.removeprefix("-") for one in search.objectives},
        f"search.objectives has {INT8_ACCURACY}, which is measured where export.int8 is true; set it",
    )


def require_comparison(experiment: Experiment) -> None:
    """Refuse a comparison of methods that is a search as well, or is tuned with more seeds than it has."""
    tuning_seeds, seeds = experiment.comparison.tuning_seeds, experiment.finalists.seeds
    require(
        tuning_seeds <= len(seeds),
        f"comparison.tuning_seeds is {tuning_seeds}, more than the {len(seeds)} of finalists.seeds",
    )
    require(
        not experiment.hyperparameters,
        "hyperparameters are for a search and comparison.methods for a comparison without one; keep one of them",
    )
    default = SearchSection()
    changed = [
        item.name for item in fields(default) if getattr(experiment.search, item.name) != getattr(default, item.name)
    ]
    require(
        not changed,
        f"search.{''.join(changed[:1])} is for a search and comparison.methods for a comparison without one; keep one "
        "of them",
    )


def require_population(experiment: Experiment) -> None:
    """Refuse a population whose trials are proposed as well, or end before anything changes."""
    settings, epochs = experiment.search, experiment.recipe.epochs
    require(
        not experiment.hyperparameters,
        f"hyperparameters are for proposals, and search.scheduler = '{settings.scheduler}' changes what "
        "search.perturb names; keep one of them",
    )
    require(
        settings.interval < epochs,
        f"search.interval is {settings.interval}, so that nothing changes within the {epochs} of recipe.epochs; make "
        "it smaller",
    )


def require_room_to_pause(trial: Resources) -> None:
    """Refuse what keeps HyperBand from pausing trials and starting others in their place."""
    require(
        trial.workers == 1,
        "search.scheduler = 'hyperband' pauses trials of one process, and trial.workers is "
        f"{trial.workers}; set it to 1 or take another scheduler",
    )
    require(
        not trial.max_concurrent,
        "search.scheduler = 'hyperband' needs room for trials that wait beside those that run; leave "
        "trial.max_concurrent at 0, and raise trial.cpus to run fewer at once",
    )
