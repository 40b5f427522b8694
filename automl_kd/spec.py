"""The records of a trial: its spec, its outcome, and the protocol of what runs it.

Everything here is a record that travels between processes: no tensors, no open files, no network.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from automl_kd import spec_names
from automl_kd.hashing import hash_json
from automl_kd.registry import check_fields
from automl_kd.space import Architecture, Scalar
from automl_kd.storage.content_hash import by_content

KEY_VERSION = 1
"""Part of every key; raise it when the same spec begins to mean another computation."""


def require(condition: bool, message: str) -> None:
    """Raise `ValueError(message)` unless `condition` holds: what records check when they are made."""
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """Which images, and how they are divided. Validation is cut from the training images, stratified by class.

    `name`: an entry of the dataset table, `folder:PATH` or `arrays:PATH.npz`; 'automl-kd show datasets' lists them.
    `train_images` (0 or more): keep so many training images (validation not counted), stratified; 0 keeps all.
    `validation` (above 0, below 1): the fraction of the training images held out for every choice. `split_seed` (any):
    draws the division; the same for all trials of an experiment. `resolution` (0 to 4096): height and width to which
    images are resized; 0 keeps the set's own. `max_value` (0 or more): what is white in images of more than 8 bits,
    such as 4095 for 12 bits in files of 16; 0 for the range that each file states. `mean` (0 to 1): means by which the
    channels of images are normalised for teacher and students, as fractions of white, such as those that a teacher was
    trained with; empty takes those of the training images. `std` (above 0, at most 1): the deviations that go with
    `mean`. `digest`: hash of the divided images themselves, filled in when the experiment is opened, so that a trial's
    key follows what the set holds rather than where it lies.
    """

    name: str = "digits"
    train_images: int = 0
    validation: float = 0.1
    split_seed: int = 0
    resolution: int = 0
    max_value: float = 0.0
    digest: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        require(0 <= self.max_value < math.inf, f"max_value must be 0 (as files state) or more, got {self.max_value}")
        require(0 < self.validation < 1, f"validation must lie between 0 and 1, got {self.validation}")
        require(self.train_images >= 0, f"train_images must be 0 (all) or more, got {self.train_images}")
        require(
            0 <= self.resolution <= 4096, f"resolution must lie in 0 (the set's own) to 4096, got {self.resolution}"
        )
        require_moments(self.mean, self.std)


def require_moments(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """Refuse means and deviations that are not one of each channel, as fractions of white."""
    require(len(mean) == len(std), f"mean and std must have one number for each channel, got {mean} and {std}")
    require(all(0 <= value <= 1 for value in mean), f"mean must lie in 0 to 1, as fractions of white, got {mean}")
    require(all(0 < value <= 1 for value in std), f"std must lie above 0 and at most at 1, of white, got {std}")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained, whatever its loss.

    `epochs` (1 or more): passes over the training images. `batch_size` (2 or more): images in a step. `optimizer`: SGD
    with momentum, or AdamW. `lr` (above 0): the highest learning rate. `momentum` (0 or more, below 1): momentum of
    SGD. `nesterov`: whether momentum looks ahead; it needs a momentum above 0. `weight_decay` (0 or more): decay of
    every weight, in each step. `schedule`: the learning rate falls as a "cosine" to zero, or by "multistep".
    `milestones` (above 0, below 1): where "multistep" lowers the rate, as fractions of the run, so that a recipe keeps
    its shape at any length. `gamma` (any): what "multistep" multiplies it by at each milestone. `warmup` (0 or more,
    below 1): the fraction of the run over which the rate first rises linearly from zero. `label_smoothing` (0 or more,
    below 1): the share of each label that is spread over all classes. `clip_norm` (0 or more): largest gradient norm; 0
    does not clip. `amp`: bfloat16 autocast, on CUDA only. `channels_last`: the layout of images and weights in memory.
    `augment`: "auto" takes what the dataset recommends. `grad_accumulation` (1 or more): a step's gradients are
    gathered from so many pieces of its batch, one after the other, which need less memory; batch normalisation and
    losses that compare images see a piece each. `sync_bn_groups` (1 or more): batch normalisation looks at each of so
    many equal parts of a batch by itself; 1 for the whole batch. It must be 1 or trial.workers where these are several.
    """

    epochs: int = 30
    batch_size: int = 64
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.05
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    schedule: Literal["cosine", "multistep"] = "cosine"
    milestones: tuple[float, ...] = (0.625, 0.75, 0.875)
    gamma: float = 0.1
    warmup: float = 0.0
    label_smoothing: float = 0.0
    clip_norm: float = 0.0
    amp: bool = True
    channels_last: bool = True
    augment: Literal["auto", "none", "crop", "crop-flip"] = "auto"
    grad_accumulation: int = 1
    sync_bn_groups: int = 1

    def __post_init__(self) -> None:
        check_fields(self)
        require(self.epochs >= 1, f"epochs must be 1 or more, got {self.epochs}")
        require(self.batch_size >= 2, f"batch_size must be 2 or more, got {self.batch_size}")
        require(self.lr > 0, f"lr must be above 0, got {self.lr}")
        require(0 <= self.momentum < 1, f"momentum must lie in [0, 1), got {self.momentum}")
        require(self.momentum > 0 or not self.nesterov, "nesterov needs a momentum above 0; set nesterov = false")
        require(self.weight_decay >= 0, f"weight_decay must be 0 or more, got {self.weight_decay}")
        require(all(0 < point < 1 for point in self.milestones), f"milestones are fractions, got {self.milestones}")
        require(0 <= self.warmup < 1, f"warmup is a fraction of the run in [0, 1), got {self.warmup}")
        require(0 <= self.label_smoothing < 1, f"label_smoothing must lie in [0, 1), got {self.label_smoothing}")
        require(self.clip_norm >= 0, f"clip_norm must be 0 (off) or more, got {self.clip_norm}")
        for name in ("grad_accumulation", "sync_bn_groups"):
            require(getattr(self, name) >= 1, f"{name} must be 1 or more, got {getattr(self, name)}")
        require_shares(self, 1)


@dataclass(frozen=True, kw_only=True)
class TeacherSpec:
    """A model by name, and either the file that holds its weights or the recipe by which it is trained from scratch.

    `model`: the network; 'automl-kd show models' lists them. `checkpoint`: the file that holds its weights; empty
    trains the teacher. `digest`: SHA-256 of the checkpoint file, filled in when the experiment is loaded, so that a
    trial's key follows the file's content rather than its place. `seed` (any): random seed of its training. `outputs`
    (exact, float16, or top1 to top999999): the precision of a fixed teacher's outputs in training: "exact", all rounded
    to "float16", or "top8", the largest logits of each image, where the others share the remaining probability.
    `weights`: which of several sets of weights in the checkpoint, by its key or a word of it, as in "ema"; empty takes
    the first that fits and is no average over training.
    """

    model: str = "resnet56"
    checkpoint: str = ""
    digest: str = ""
    recipe: Recipe = field(default_factory=Recipe)
    seed: int = 0
    outputs: str = "exact"
    weights: str = ""

    def __post_init__(self) -> None:
        require(
            not self.weights or bool(self.checkpoint),
            f"teacher.weights = {self.weights!r} selects weights in a file; name the file as teacher.checkpoint",
        )
        require(
            re.fullmatch(r"exact|float16|top[1-9][0-9]{0,5}", self.outputs) is not None,
            f"teacher.outputs must be exact, float16 or a number of logits as in top8, got {self.outputs!r}",
        )


class Stage(NamedTuple):
    """From the fraction `start` of a run on, in [0, 1), "recipe.FIELD" and "method.OPTION" as in `changes`."""

    start: float
    changes: Mapping[str, Scalar]


Schedule = tuple[Stage, ...]
"""What changes while a trial trains, in order of `start`: fractions, so that it keeps its shape at any length."""


def schedule_text(schedule: Schedule) -> str:
    """A schedule as JSON, [[start, {name: value}], ...], by the names of `spec_names`; empty if nothing changes."""
    stored = [(start, spec_names.stored_changes(changes)) for start, changes in schedule]
    return json.dumps(stored, sort_keys=True) if schedule else ""


def read_schedule(text: str) -> Schedule:
    return tuple(Stage(start, spec_names.current_changes(changes)) for start, changes in json.loads(text or "[]"))


@dataclass(frozen=True, kw_only=True)
class TrialSpec:
    """Everything one trial depends on: equal specs give equal results on equal machines.

    `space`: reference to a `SearchSpace`, "search_spaces.resnet:SPACE", or "model:NAME" for the space whose only point
    is that model. `teacher` is None for methods that have none. `schedule`: what of recipe and options changes while it
    trains; see `automl_kd.methods.schedule`.
    """

    space: str
    architecture: Architecture
    method: str
    options: Mapping[str, Scalar] = field(default_factory=dict)
    data: DataSpec
    teacher: TeacherSpec | None = None
    recipe: Recipe
    seed: int
    schedule: Schedule = ()

    def __post_init__(self) -> None:
        starts = [stage.start for stage in self.schedule]
        require(
            starts == sorted(set(starts)) and all(0 <= start < 1 for start in starts),
            f"stages of a schedule start at rising fractions of the run in [0, 1), got {starts}",
        )

    @property
    def key(self) -> str:
        """Sixteen hex digits: the name of this trial's checkpoint folder, curve and row.

        Fields that equal their default are left out, so a new field with a default renames no old trial. Where a
        teacher's weights come from a file, its digest counts, not its path or a recipe that was not followed; likewise
        the digest of the data, once it is known, and the content hash of any file. Names are those of `spec_names`.
        """
        record = stored_fields(self)
        if self.data.digest:
            record["data"].pop("name", None)
        if self.teacher is not None and self.teacher.checkpoint:
            chosen = {name: record["teacher"][name] for name in ("outputs", "weights") if name in record["teacher"]}
            record["teacher"] = {"model": self.teacher.model, "digest": self.teacher.digest, **chosen}
        return hash_json([KEY_VERSION, placeless(record)])

    def to_json(self) -> str:
        """The complete spec; `from_json` reads it back. What is younger is not in it where it is unset."""
        record = spec_names.version_1({**asdict(self), "architecture": self.architecture.as_dict()})
        if not self.schedule:
            del record["schedule"]
        if not self.data.mean:
            del record["data"]["mean"], record["data"]["std"]
        return json.dumps(record, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> TrialSpec:
        record = spec_names.current(json.loads(text))
        teacher = record["teacher"]
        return TrialSpec(
            **{
                **record,
                "architecture": Architecture.of(record["architecture"]),
                "data": read_data(record["data"]),
                "teacher": teacher and TeacherSpec(**{**teacher, "recipe": read_recipe(teacher["recipe"])}),
                "recipe": read_recipe(record["recipe"]),
                "schedule": tuple(Stage(*stage) for stage in record.get("schedule", ())),
            }
        )


def require_shares(recipe: Recipe, workers: int, where: str = "") -> None:
    """Raise `ValueError` unless its batches can be divided among so many workers, and into its pieces.

    `where`: before the names of its fields.
    """
    norms = recipe.sync_bn_groups
    require(
        workers == 1 or norms in {1, workers},
        f"{where}sync_bn_groups must be 1 or trial.workers, which is {workers}, got {norms}; set it to 1",
    )
    shares = {"trial.workers": workers, f"{where}grad_accumulation": recipe.grad_accumulation}
    shares |= {f"{where}sync_bn_groups": norms} if workers == 1 else {}
    least, words = math.prod(shares.values()), ", ".join(f"{name} = {n}" for name, n in shares.items() if n > 1)
    require(
        least == 1 or (recipe.batch_size % least == 0 and recipe.batch_size >= 2 * least),
        f"{where}batch_size must be a multiple of {least} ({words}) and at least {2 * least}, so that every share has "
        f"two images or more, got {recipe.batch_size}; choose another",
    )


def read_data(record: Mapping[str, Any]) -> DataSpec:
    return DataSpec(**{**record, **{name: tuple(record[name]) for name in ("mean", "std") if name in record}})


def read_recipe(record: Mapping[str, Any]) -> Recipe:
    return Recipe(**{**record, "milestones": tuple(record["milestones"])})


def stored_fields(spec: TrialSpec) -> dict[str, Any]:
    """What of a spec is hashed: what differs from its default, by the names that are stored."""
    return spec_names.version_1(non_default_fields(spec))


def non_default_fields(record: Any) -> Any:
    """A dataclass as nested plain values, without the fields that equal their default."""
    if isinstance(record, Architecture):
        return record.as_dict()
    if not is_dataclass(record) or isinstance(record, type):
        return dict(record) if isinstance(record, Mapping) else record
    return {
        item.name: non_default_fields(getattr(record, item.name))
        for item in fields(record)
        if getattr(record, item.name) != default_of(item)
    }


def placeless(record: Any) -> Any:
    """Nested plain values in which files are named by content hash alone, without paths."""
    if isinstance(record, Mapping):
        return {name: placeless(value) for name, value in record.items()}
    return by_content(record) if isinstance(record, str) else record


def default_of(item: Any) -> Any:
    return item.default_factory() if item.default_factory is not MISSING else item.default


def teacher_trial(teacher: TeacherSpec, data: DataSpec) -> TrialSpec:
    """The trial that trains this teacher: the method `scratch` on the one-point space of its model."""
    return TrialSpec(
        space=f"model:{teacher.model}",
        architecture=Architecture(()),
        method="scratch",
        data=data,
        recipe=teacher.recipe,
        seed=teacher.seed,
    )


@dataclass(frozen=True, kw_only=True)
class TeacherCacheOptions:
    """Whether a fixed teacher's outputs on training batches are kept on disk, where other trials read them.

    It decides where outputs come from and not what they are, so it is no part of what a trial is. `keep`: "logits",
    "features" for the maps that losses read as well, "off", or "auto": logits, unless the search follows seconds, of
    which the first trial pays more. Where "logits" or "features" is asked for, methods whose teacher moves are refused.
    `limit_gb` (above 0): limit of all that is kept under one root of results, in 10^9 bytes; beyond it the teacher
    runs.
    """

    keep: Literal["auto", "logits", "features", "off"] = "auto"
    limit_gb: float = 10.0

    def __post_init__(self) -> None:
        check_fields(self)
        require(self.limit_gb > 0, f"limit_gb must be above 0, got {self.limit_gb}; to keep nothing set keep = 'off'")


@dataclass(frozen=True, kw_only=True)
class TrialPaths:
    """Where a trial works: folders and device. Not part of what it is, so not part of its key. Paths are absolute.

    `trial` holds this trial's checkpoints; `teachers` one folder per trained teacher, named by its trial's key; `data`
    the image sets. `teacher_cache`: how far teachers' outputs are kept, below `teachers`. `pausable`: save a checkpoint
    after every epoch, because the trial may be paused after any.
    """

    trial: Path
    teachers: Path
    data: Path
    device: str = "cpu"
    teacher_cache: TeacherCacheOptions = field(default_factory=lambda: TeacherCacheOptions(keep="off"))
    pausable: bool = False


FailureKind = Literal["diverged", "memory", "data", "timeout", "storage", "died", "other"]
"""Of what kind a failure is: numbers not finite, out of memory, damaged or missing images, took too long, a file system
or network that failed, its process died."""

SETTLED: tuple[FailureKind, ...] = ("diverged", "timeout")
"""Kinds of failure that are known to come again: a later session repeats them only on request."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a trial. `metrics` holds the last value reported for each name.

    "stopped": the scheduler ended it early; "failed": `error` is the reason, `failure_kind` its kind.
    """

    status: Literal["complete", "stopped", "failed"]
    metrics: Mapping[str, float]
    epoch: int
    error: str = ""
    failure_kind: FailureKind | None = None


class Report(Protocol):
    """Called after every epoch, 1, 2, ...; an epoch may be reported again after a restart.

    May raise `StopTrial`; a trial lets it pass.
    """

    def __call__(self, metrics: Mapping[str, float], *, epoch: int) -> None: ...


class Trainable(Protocol):
    """One trial, start to end; called again with the same spec and place, it continues or reports again.

    Knows nothing of Ray, Optuna or result files, and returns nothing: whatever it measures it reports.
    """

    def __call__(self, spec: TrialSpec, report: Report, paths: TrialPaths) -> None: ...
