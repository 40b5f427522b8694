"""Sections of an experiment: what a student may cost, how the search goes, what a trial is given, who is compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from automl_kd.config.range import Range
from automl_kd.registry import check_fields
from automl_kd.space import Scalar
from automl_kd.spec import BASELINE_ROLES, FRESH, READINGS, BaselineRole, ReadingName, require

SEEDS = 1_000_000
"""Seeds lie below this; search and choice add different multiples of it, so that no trial serves in two stages."""

CHOICE_SEEDS = SEEDS
"""Added to a final seed for the choice among finalists: what is reported is not what was chosen by."""

SEARCH_SEEDS = 2 * SEEDS
"""Added to the experiment's seed: no trial of the search stands among the finals, and favours what it chose."""

POPULATIONS = ("pbt", "pb2")
"""Schedulers that change trials while they train."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a student may cost; 0 sets no limit. Every sampler, baseline and finalist keeps to it.

    `params` (0 or more): trainable parameters. `non_embedding_params` (0 or more): trainable parameters of a
    student of texts beside its tables of words, positions and segments. `macs` (0 or more): multiply-adds for one
    image. `latency_ms` (0 or more): median forward of one image on the processor of the machine that proposes, one
    thread, by torch; with a profile, as it is predicted for the profile's device. `profile`: a file of 'automl-kd
    profile', beside the experiment's; then limit, objective and column `latency_ms` are of that device, and nothing is
    timed here.
    """

    params: int = 0
    macs: int = 0
    latency_ms: float = 0.0
    profile: str = ""
    non_embedding_params: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        require(
            min(self.params, self.non_embedding_params, self.macs, self.latency_ms) >= 0,
            "limits must be 0 (none) or more",
        )


@dataclass(frozen=True, kw_only=True)
class StudentSection:
    """What students begin with.

    `init`: "fresh" draws a student's weights. "teacher" takes what fits of its teacher's: of layers that do the same at
    the same resolution the largest channels, and blocks that the teacher lacks begin as identities. Or a file with
    weights of the student's own family, which are taken by their names. It holds for methods that have a teacher;
    training from scratch begins fresh. Finals then also train the found student fresh.
    """

    init: str = FRESH

    def __post_init__(self) -> None:
        require(bool(self.init), 'init must be "fresh", "teacher" or a file with weights, got an empty text')


@dataclass(frozen=True, kw_only=True)
class SearchSection:
    """How architectures are proposed and which trials may go on.

    `sampler`: what proposes trials; 'automl-kd show samplers' lists them; unset it is nsga2 where there are several
    objectives. `options`: options of the sampler, by name.
    `trials` (1 or more): trainings of the search, or members of a population. `objectives`: what samplers compare; the
    first one also rules the scheduler and the choice of finalists and is measured on validation. A leading minus
    minimises: `["val_accuracy", "-params"]`. `proxy_filter`: proxies whose rank sum picks the best of `pool` candidates
    for each trial; empty does not filter. `pool` (1 or more): candidates of which the proxy filter takes the best.
    `probe_images` (2 or more), `repeats` (1 or more): images in a proxy's batch, and how often weights and images are
    drawn anew. `proxy_teacher`: what proxies that compare with a teacher compare with, one of "random" weights, as in
    their papers, or the "trained" teacher itself. `scheduler`: which trials end early, by validation accuracy: "asha"
    and "hyperband" those below the best share of their rung, "median" those below the median of the others, "none"
    none. Or "pbt" and "pb2": a population of `trials` copies of one student, in which every `interval` epochs the worst
    take over the weights of the best, and other values of what `perturb` names ("recipe.lr", "recipe.weight_decay",
    "method.OPTION", "method.losses.NAME"). `grace_epochs` (1 or more): ASHA's first rung, and the epochs before the
    median rule. `reduction` (above 1): the factor between rungs of ASHA and HyperBand. `median_trials` (1 or more):
    others that must have come as far before the median rule stops a trial. `interval` (1 or more): epochs after which a
    population changes. `quantile` (above 0, at most 0.5): the share of a population that gives, and that takes.
    `inherit`: a student begins with what fits it of the nearest student that was trained before it; finals begin as
    ever. `resample` (0 to 1): how often "pbt" draws a value anew instead of multiplying it by 0.8 or 1.2. `perturb`:
    the range, in a population, of each value that changes, as "recipe.lr" = { low = 0.01, high = 0.1, log = true }.
    """

    sampler: str = "evolution"
    options: Mapping[str, Scalar] = field(default_factory=dict)
    trials: int = 12
    objectives: tuple[str, ...] = ("val_accuracy",)
    proxy_filter: tuple[str, ...] = ()
    pool: int = 20
    probe_images: int = 64
    repeats: int = 1
    proxy_teacher: Literal["random", "trained"] = "random"
    scheduler: Literal["none", "asha", "hyperband", "median", "pbt", "pb2"] = "asha"
    grace_epochs: int = 1
    reduction: float = 3.0
    median_trials: int = 3
    inherit: bool = False
    interval: int = 5
    quantile: float = 0.25
    resample: float = 0.25
    perturb: Mapping[str, Range] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self)
        require(self.trials >= 1, f"trials must be 1 or more, got {self.trials}")
        require(self.pool >= 1, f"pool must be 1 or more, got {self.pool}")
        require(self.repeats >= 1, f"repeats must be 1 or more, got {self.repeats}")
        require(self.probe_images >= 2, f"probe_images must be 2 or more, got {self.probe_images}")
        require(self.grace_epochs >= 1, f"grace_epochs must be 1 or more, got {self.grace_epochs}")
        require(self.reduction > 1, f"reduction must be above 1, got {self.reduction}")
        require(self.median_trials >= 1, f"median_trials must be 1 or more, got {self.median_trials}")
        require(self.interval >= 1, f"interval must be 1 or more epochs, got {self.interval}")
        require(0 < self.quantile <= 0.5, f"quantile must lie above 0 and at most at 0.5, got {self.quantile}")
        require(0 <= self.resample <= 1, f"resample must lie in 0 to 1, got {self.resample}")
        population = self.scheduler in POPULATIONS
        require(
            population == bool(self.perturb),
            f"scheduler = '{self.scheduler}' needs a table [search.perturb] of what it changes, such as "
            '"recipe.lr" = { low = 0.01, high = 0.1, log = true }'
            if population
            else f"perturb is for the schedulers 'pbt' and 'pb2', got '{self.scheduler}'; drop one of the two",
        )
        require(
            not (population and self.inherit),
            f"inherit has no effect with scheduler = '{self.scheduler}', whose members take over weights anyway; "
            "drop it",
        )
        require(not population or self.trials >= 2, f"a population needs trials of 2 or more, got {self.trials}")
        require(
            bool(self.objectives) and self.objectives[0] == "val_accuracy",
            'objectives must begin with "val_accuracy": trials are compared on validation',
        )


@dataclass(frozen=True, kw_only=True)
class ExportSection:
    """What is measured of each student as it would be exported.

    `int8`: a student that has come to its last epoch is quantised, as `automl-kd export --int8` does, and its accuracy
    on the validation images is `int8_val_accuracy`, which `search.objectives` may name. It takes seconds for each
    trial, which are not among the `seconds` of its training, and needs the packages of automl-kd[export].
    """

    int8: bool = False

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one trial is given, and how many run at once.

    `device`: "auto" takes GPUs where the machine or cluster has some. `cpus` (1 or more): cores, and torch threads, of
    each worker. `gpus` (above 0): GPUs of each worker, for trials on "cuda"; may be a fraction, so that small students
    share one GPU, where a trial has one worker. `max_concurrent` (0 or more): trials at once; 0 means as many as there
    is room for. `wait_minutes` (0 or more): how long a cluster that starts its machines when they are asked for is
    waited for until a trial has room. `retries` (0 or more): how often a trial of which a process died, or which failed
    in a way that may pass (out of memory, a file system that failed), is started again, from its checkpoint. `workers`
    (1 or more): processes that train one student together, each on its part of every batch. `placement`: whether a
    trial's workers are packed on few machines or spread over many, as far as there is room. `timeout_minutes` (0 or
    more): a trial that takes longer in one sitting is ended and has failed; 0 sets no limit. `retry_failed`: a later
    sitting repeats also those failed trials that are known to fail again (a loss that is not finite, too long); others
    it repeats anyway. `checkpoint_minutes` (0 or more): the longest time between two checkpoints of a trial while it
    trains, which is what a kill costs; 0 saves after epochs alone. `cuda_graphs`: on a GPU, launch the passes of a
    student of which no feature layers are read as one record, where a trial has one worker; not yet tried on a card by
    us. `loggers`: who else is told of every trial, epoch by epoch; files go to the experiment's folder `loggers`.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    cpus: int = 1
    gpus: float = 1.0
    max_concurrent: int = 0
    wait_minutes: float = 20.0
    retries: int = 2
    workers: int = 1
    placement: Literal["pack", "spread"] = "pack"
    timeout_minutes: float = 0.0
    retry_failed: bool = False
    checkpoint_minutes: float = 5.0
    cuda_graphs: bool = False
    loggers: tuple[Literal["tensorboard", "mlflow", "wandb"], ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)
        require(self.workers >= 1, f"workers must be 1 or more, got {self.workers}")
        require(
            self.workers == 1 or self.gpus >= 1 or self.device == "cpu",
            f"{self.workers} workers cannot share a GPU (gpus is {self.gpus:g} for each); set gpus = 1 or workers = 1",
        )
        require(self.cpus >= 1, f"cpus must be 1 or more, got {self.cpus}")
        require(self.gpus > 0, f"gpus must be above 0, got {self.gpus}; for the CPU set device = 'cpu'")
        require(self.gpus <= 1 or self.gpus == int(self.gpus), f"gpus must be whole or at most 1, got {self.gpus}")
        require(min(self.max_concurrent, self.retries) >= 0, "max_concurrent and retries must be 0 or more")
        require(self.wait_minutes >= 0, f"wait_minutes must be 0 or more, got {self.wait_minutes}")
        require(self.timeout_minutes >= 0, f"timeout_minutes must be 0 (none) or more, got {self.timeout_minutes}")
        require(
            self.checkpoint_minutes >= 0,
            f"checkpoint_minutes must be 0 (after epochs alone) or more, got {self.checkpoint_minutes}",
        )


@dataclass(frozen=True, kw_only=True)
class Finalists:
    """The comparison at the end: the found student and the baselines, trained again with every one of `seeds`.

    `seeds` (0 to 999999): one training of each for every seed; distinct. `count` (1 or more): so many of the best
    trials of the search are trained again with as many other seeds, and the best of these by mean validation accuracy
    is the found student; 1 takes the best trial, which owes more to chance. `epochs` (0 or more): epochs of the found
    student with its method; 0 keeps the recipe's. `baseline`: the student that one would take without a search, by the
    parameters of its space; empty takes the space's default. `baselines`: what the found student is compared with; each
    of the default student by plain KD, from scratch, and the found one from scratch answers a question of its own, as
    do, where students begin with weights, the found one by labels alone from the same weights and by its method from
    fresh ones; an empty list makes no comparison.
    `readings`: what is equal between the trainings that are compared: "compute", all passes counted; "shared-teacher",
    compute with the teacher's passes counted once for all trials that read them from the cache; "epochs", their number.
    The first of these decides the verdict, and lengths within 1 % of each other are trained once. `whole_epochs`:
    trainings end with whole epochs, as in earlier releases: a baseline then has up to an epoch more than its compute,
    and a method of a comparison at most 5 %.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    count: int = 3
    epochs: int = 0
    baseline: Mapping[str, Scalar] = field(default_factory=dict)
    baselines: tuple[BaselineRole, ...] = BASELINE_ROLES
    readings: tuple[ReadingName, ...] = READINGS
    whole_epochs: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        require_once("baselines", self.baselines)
        require_once("readings", self.readings)
        require(bool(self.readings), "readings must name one or more of " + ", ".join(map(repr, READINGS)))
        require(len(set(self.seeds)) == len(self.seeds) >= 1, f"seeds must be distinct and at least one: {self.seeds}")
        require(all(0 <= seed < SEEDS for seed in self.seeds), f"seeds must lie in 0 to {SEEDS - 1}, got {self.seeds}")
        require(self.count >= 1, f"count must be 1 or more, got {self.count}")
        require(self.epochs >= 0, f"epochs must be 0 (the recipe's) or more, got {self.epochs}")


def require_once(name: str, values: tuple[str, ...]) -> None:
    if twice := [one for place, one in enumerate(values) if one in values[:place]]:
        raise ValueError(f"{name} has {twice[0]!r} twice; keep one")
