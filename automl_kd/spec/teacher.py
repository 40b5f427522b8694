"""The records of a teacher: which network it is, and how far its outputs are kept."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from math import inf
from typing import Any, Literal

from automl_kd.registry import check_fields
from automl_kd.spec.checks import require
from automl_kd.spec.preprocessing import Preprocessing, read_preprocessing
from automl_kd.spec.recipe import Recipe, read_recipe

HUGGING_FACE, TIMM_FOLDER = "hf:", "timm:local-dir:"
FOLDERS = (HUGGING_FACE, TIMM_FOLDER)
"""Prefixes of models that are folders with their weights."""

BLACK_BOX = "file:"
"""Prefix of models that are a file with network and weights, of which nothing but the outputs is seen."""

PUBLISHERS = ("torchvision:", "timm:")
"""Of models whose weights their library publishes."""


@dataclass(frozen=True, kw_only=True)
class TeacherSpec:
    """A model by name, and either the file that holds its weights or the recipe by which it is trained from scratch.

    `model`: the network; 'automl-kd show models' lists them; "file:PATH" for one in a .pt2 file of torch.export or an
    .onnx file, which brings its weights. `checkpoint`: the file that holds its weights; empty trains the teacher.
    `digest`: SHA-256 of the checkpoint file, filled in when the experiment is loaded, so that a trial's key follows the
    file's content rather than its place. `seed` (any): random seed of its training. `outputs` (exact, float16, top1 to
    top999999, or auto): the precision of a fixed teacher's outputs in training: "exact", all rounded to "float16", or
    "top8", the largest logits of each image, where the others share the remaining probability; "auto" takes "exact" if
    a whole run fits into teacher_cache.limit_gb, and else "top8". `weights`: which of several sets of weights in the
    checkpoint, by its key or a word of it, as in "ema"; empty takes the first that fits and is no average over
    training. Without a checkpoint, published weights of torchvision's and timm's models: "DEFAULT", or of torchvision's
    one of their names. `resolution` (0 to 4096): height and width of the images that it takes; 0 takes those of the
    students. `classes` (any): which of its outputs, counted from 0, the data's classes are, in the order of these;
    empty where it has the same classes in the same order. `class_names`: a file with the names of the teacher's
    outputs, one in a line, by which `classes` is filled in. `total_classes` (0 or more): how many outputs it has; 0 for
    as many as the data has classes, or as its file shows. `macs` (0 or more): multiply-adds for one image, for a model
    "file:PATH" in which they cannot be counted; 0 counts them. `all_labels`: train it with the labels too that
    data.labelled_images hides from students, as one that was trained elsewhere on more of them. `others`: more teachers
    that bring their weights, each with images and classes of its own; students learn from the weighted mean of all
    softened outputs. `shares` (above 0): the weight of each teacher in that mean, this one first, of which the sum
    alone has no meaning; empty for equal ones. `learned_shares`: fill `shares` in before training, with those under
    which the mean predicts labelled training images best. `temperature` (above 0): the temperature at which outputs are
    averaged; where a loss softens by another one, the mean is softened as a whole.
    """

    model: str = "resnet56"
    checkpoint: str = ""
    digest: str = ""
    recipe: Recipe = field(default_factory=Recipe)
    seed: int = 0
    outputs: str = "exact"
    weights: str = ""
    resolution: int = 0
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    classes: tuple[int, ...] = ()
    class_names: str = ""
    total_classes: int = 0
    macs: int = 0
    all_labels: bool = False
    others: tuple[TeacherSpec, ...] = ()
    shares: tuple[float, ...] = ()
    learned_shares: bool = False
    temperature: float = 4.0

    @property
    def members(self) -> tuple[TeacherSpec, ...]:
        """Each teacher by itself: this one, then the others."""
        if not self.others:
            return (self,)
        alone: dict[str, Any] = {item.name: item.default for item in fields(self) if item.name in OF_MEANS}
        return (replace(self, **alone), *self.others)

    def with_members(self, members: Sequence[TeacherSpec]) -> TeacherSpec:
        """The same mean of other teachers; one without others is replaced."""
        first, *others = members
        mean = {name: getattr(self, name) for name in OF_MEANS}
        return replace(first, **{**mean, "others": tuple(others)})

    def __post_init__(self) -> None:
        require(
            0 <= self.resolution <= 4096, f"resolution must lie in 0 (the students') to 4096, got {self.resolution}"
        )
        require(self.total_classes >= 0, f"total_classes must be 0 (the data's) or more, got {self.total_classes}")
        require_outputs(self.classes, self.total_classes)
        require(self.macs >= 0, f"macs must be 0 (counted) or more, got {self.macs}")
        require(
            not self.macs or self.model.startswith(BLACK_BOX),
            f"teacher.macs = {self.macs} is for a model 'file:PATH', and those of {self.model!r} are counted; drop it",
        )
        require(
            not self.weights or bool(self.checkpoint) or self.model.startswith(PUBLISHERS),
            f"teacher.weights = {self.weights!r} selects weights in a file; name the file as teacher.checkpoint",
        )
        require(
            re.fullmatch(r"auto|exact|float16|top[1-9][0-9]{0,5}", self.outputs) is not None,
            f"teacher.outputs must be exact, float16, a number of logits as in top8, or auto, got {self.outputs!r}",
        )
        require_mean(self)


def teacher_sections(teacher: TeacherSpec) -> list[str]:
    """Where an experiment says each of `members`: "teacher", "teacher.others.0" and so on."""
    return ["teacher", *(f"teacher.others.{place}" for place in range(len(teacher.others)))]


def require_mean(teacher: TeacherSpec) -> None:
    """Refuse shares that do not fit the number of teachers, and others that are more than a network with weights."""
    shares, count = teacher.shares, 1 + len(teacher.others)
    require(0 < teacher.temperature < inf, f"teacher.temperature must be above 0, got {teacher.temperature}")
    require(
        len(shares) in {0, count},
        f"teacher.shares has another length than the number of teachers, {count}, got {list(shares)}; give one number "
        "for each in the table [teacher], its own first",
    )
    require(all(0 < one < inf for one in shares), f"teacher.shares must be above 0, got {list(shares)}")
    for place, other in enumerate(teacher.others):
        given = [name for name in NOT_OF_OTHERS if is_given(other, name)]
        require(
            not given,
            f"teacher.others.{place}.{''.join(given[:1])} is for the table [teacher] alone, which speaks for all; drop "
            "it",
        )


def is_given(teacher: TeacherSpec, name: str) -> bool:
    return bool(getattr(teacher, name) != getattr(PLAIN_TEACHER, name))


def require_outputs(classes: tuple[int, ...], total: int) -> None:
    """Refuse outputs that do not exist, or that are named twice."""
    if twice := [one for place, one in enumerate(classes) if one in classes[:place]]:
        raise ValueError(f"teacher.classes names output {twice[0]} twice; give each class of the data one of its own")
    if wrong := [one for one in classes if one < 0 or (total and one >= total)]:
        there = f"outputs 0 to {total - 1}" if total else "outputs from 0"
        raise ValueError(f"teacher.classes names output {wrong[0]}, and the teacher has {there}")


OF_MEANS = ("others", "shares", "learned_shares", "temperature")
"""What there is of several teachers alone."""

NOT_OF_OTHERS = (*OF_MEANS, "recipe", "seed", "outputs", "all_labels")
"""What the first of several teachers has, and the others have not."""

PLAIN_TEACHER = TeacherSpec()


@dataclass(frozen=True, kw_only=True)
class TeacherCacheOptions:
    """Whether a fixed teacher's outputs on training batches are kept on disk, where other trials read them.

    It decides where outputs come from and not what they are, so it is no part of what a trial is. `keep`: "logits",
    "features" for the maps that losses read as well, of images alone, "off", or "auto": logits, unless the search
    follows seconds, of which the first trial pays more. Where "logits" or "features" is asked for, methods whose
    teacher moves are refused. `limit_gb` (above 0): limit of all that is kept under one root of results, in 10^9 bytes;
    beyond it the teacher runs.
    """

    keep: Literal["auto", "logits", "features", "off"] = "auto"
    limit_gb: float = 10.0

    def __post_init__(self) -> None:
        check_fields(self)
        require(self.limit_gb > 0, f"limit_gb must be above 0, got {self.limit_gb}; to keep nothing set keep = 'off'")


CHOSEN_BY_USER = (
    *("outputs", "weights", "resolution", "preprocessing", "classes", "total_classes", "macs"),
    *("shares", "temperature"),
)
"""What of a teacher from a file is part of a trial's key, beside its model and the content of its file."""

YOUNGER_TEACHER_FIELDS = (
    *("resolution", "preprocessing", "classes", "class_names", "total_classes", "macs", "all_labels"),
    *OF_MEANS,
)
"""Those that records of earlier releases do not have; they are stored where they are set."""


def read_teacher(record: Mapping[str, Any]) -> TeacherSpec:
    """The others of several teachers are stored without what has its default."""
    found = dict(record)
    if "recipe" in record:
        found["recipe"] = read_recipe(record["recipe"])
    if "preprocessing" in record:
        found["preprocessing"] = read_preprocessing(record["preprocessing"])
    if "classes" in record:
        found["classes"] = tuple(record["classes"])
    if "shares" in record:
        found["shares"] = tuple(record["shares"])
    if "others" in record:
        found["others"] = tuple(map(read_teacher, record["others"]))
    return TeacherSpec(**found)
