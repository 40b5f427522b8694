"""Records that programs make: checked when they are made, as those of a TOML file are when it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from automl_kd.config import Budget
from automl_kd.config.strict import as_plain, check_record, strict, strict_subclass
from automl_kd.errors import RecordError
from automl_kd.space import InputShape
from automl_kd.spec import Recipe, TeacherSpec, require, require_moments

RECORDS: Mapping[str, type[Any]] = {"Budget": strict_subclass(Budget), "Recipe": strict_subclass(Recipe)}
"""The strict forms of an experiment's own records."""


@strict
@dataclass(frozen=True)
class Preprocessing:
    """How images are normalised, for the teacher and the students alike: (image - mean) / std.

    `mean`, `std`: of each channel, as fractions of white: `mean` in [0, 1], `std` in (0, 1]. One number for each
    channel of the images. Take those that the teacher was trained with. `RecordError` for anything else.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        require(bool(self.mean), "mean and std need one number for each channel; leave preprocessing out for none")
        require_moments(self.mean, self.std)


@dataclass(frozen=True)
class Teacher:
    """The network that students learn from.

    `model`: an `nn.Module` with its weights, which is measured and not trained; a name ("resnet56", "torchvision:NAME",
    "module:function"); or a function of an `InputShape` that builds it. A teacher without weights is trained first, by
    `recipe`. `checkpoint`: a file of weights for a name or function. `weights`: which of several sets in that file.
    `outputs`: "exact", "float16", or the largest logits as in "top8". `preprocessing`: how its images are normalised,
    which then holds for the students too; None takes mean and deviation of the training images.

    `RecordError` for what does not fit; the sentence is that of a TOML file.
    """

    model: nn.Module | str | Callable[[InputShape], nn.Module] = "resnet56"
    checkpoint: str = ""
    weights: str = ""
    outputs: str = "exact"
    recipe: Recipe | None = None
    seed: int = 0
    preprocessing: Preprocessing | None = field(default=None)

    def __post_init__(self) -> None:
        given = isinstance(self.model, nn.Module)
        if not given and not isinstance(self.model, str) and not callable(self.model):
            raise RecordError(
                f"Teacher: model is a {type(self.model).__name__}; give an nn.Module, a name, or a function that "
                "builds it"
            )
        if given and (self.checkpoint or self.recipe is not None):
            raise RecordError(
                "Teacher: an nn.Module brings its own weights; leave out checkpoint and recipe, or give a name or a "
                "function in its place"
            )
        if self.preprocessing is not None and not isinstance(self.preprocessing, Preprocessing):
            raise RecordError(
                f"Teacher: preprocessing is a {type(self.preprocessing).__name__}; give "
                "Preprocessing(mean=..., std=...)"
            )
        check_record(TeacherSpec, self.fields, "Teacher")

    @property
    def fields(self) -> dict[str, Any]:
        """Those of the section `teacher` of an experiment, its model aside unless that is a name."""
        found: dict[str, Any] = {"weights": self.weights, "outputs": self.outputs, "seed": self.seed}
        found |= {"checkpoint": str(self.checkpoint)} if self.checkpoint else {}
        found |= {"model": self.model} if isinstance(self.model, str) else {}
        return found | ({} if self.recipe is None else {"recipe": as_plain(self.recipe)})

    @property
    def data_fields(self) -> dict[str, Any]:
        """Those of the section `data` that it decides."""
        return {} if self.preprocessing is None else as_plain(self.preprocessing)
