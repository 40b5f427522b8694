"""Records that programs make: checked when they are made, as those of a TOML file are when it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from automl_kd.config import Budget
from automl_kd.config.strict import as_plain, check_record, strict_subclass
from automl_kd.errors import RecordError
from automl_kd.registry import name_type
from automl_kd.space import InputShape
from automl_kd.spec import Preprocessing, Recipe, TeacherSpec

RECORDS: Mapping[str, type[Any]] = {one.__name__: strict_subclass(one) for one in (Budget, Preprocessing, Recipe)}
"""The strict forms of an experiment's own records."""


@dataclass(frozen=True)
class Teacher:
    """The network that students learn from.

    `model`: an `nn.Module` with its weights, which is measured and not trained; a name ("resnet56", "torchvision:NAME",
    "module:function", "file:net.onnx" for a network in a .pt2 or .onnx file); or a function of an `InputShape` that
    builds it. A teacher without weights is trained first, by `recipe`. `checkpoint`: a file of weights for a name or
    function. `weights`: which of several sets in that file. `outputs`: "exact", "float16", or the largest logits as in
    "top8". `preprocessing`: what it does to its images; None takes mean and deviation of the training images, as
    students do. `resolution`: height and width of its images; 0 takes those of students. `classes`: of each class of
    the data, which of its outputs it is, counted from 0; empty where it has these classes in the same order.
    `class_names`: a file with the names of its outputs, one in a line. `macs`: multiply-adds for one image, for a
    network in a file in which they cannot be counted; 0 counts them. `others`: more teachers with weights; students
    learn from the weighted mean of all softened outputs. `shares`: the weights of that mean, this teacher's first;
    empty for equal ones. `learned_shares`: find them by labelled training images, which no teacher may have been
    trained on. `temperature`: at which outputs are averaged.

    `RecordError` for what does not fit; the sentence is that of a TOML file.
    """

    model: nn.Module | str | Callable[[InputShape], nn.Module] = "resnet56"
    checkpoint: str = ""
    weights: str = ""
    outputs: str = "exact"
    recipe: Recipe | None = None
    seed: int = 0
    preprocessing: Preprocessing | None = field(default=None)
    resolution: int = 0
    classes: tuple[int, ...] = ()
    class_names: str = ""
    macs: int = 0
    others: Sequence[Teacher] = ()
    shares: tuple[float, ...] = ()
    learned_shares: bool = False
    temperature: float = TeacherSpec.temperature

    def __post_init__(self) -> None:
        given = isinstance(self.model, nn.Module)
        if not given and not isinstance(self.model, str) and not callable(self.model):
            raise RecordError(
                f"Teacher: model is {name_type(self.model)}; give an nn.Module, a name, or a function that builds it"
            )
        if given and (self.checkpoint or self.recipe is not None):
            raise RecordError(
                "Teacher: an nn.Module brings its own weights; leave out checkpoint and recipe, or give a name or a "
                "function in its place"
            )
        if self.preprocessing is not None and not isinstance(self.preprocessing, Preprocessing):
            raise RecordError(
                f"Teacher: preprocessing is {name_type(self.preprocessing)}; give Preprocessing(mean=..., std=...)"
            )
        if not isinstance(self.others, Sequence):
            raise RecordError(f"Teacher: others is {name_type(self.others)}; give a list of Teacher(...)")
        for one in self.others:
            if not isinstance(one, Teacher):
                raise RecordError(f"Teacher: others has {name_type(one)}; give each as a Teacher(...)")
        check_record(TeacherSpec, self.fields, "Teacher")

    @property
    def fields(self) -> dict[str, Any]:
        """Those of the section `teacher` of an experiment, models aside unless they are names."""
        found: dict[str, Any] = {"weights": self.weights, "outputs": self.outputs, "seed": self.seed}
        found |= {"checkpoint": str(self.checkpoint)} if self.checkpoint else {}
        found |= {"model": self.model} if isinstance(self.model, str) else {}
        found |= {} if self.preprocessing is None else {"preprocessing": as_plain(self.preprocessing)}
        inputs = {"resolution": self.resolution, "classes": list(self.classes), "class_names": str(self.class_names)}
        inputs["macs"] = self.macs
        found |= {name: value for name, value in inputs.items() if value}
        if self.others:
            found |= {"others": [one.fields for one in self.others]}
        for name in ("shares", "learned_shares", "temperature"):
            if (value := getattr(self, name)) != getattr(TeacherSpec, name):
                found[name] = list(value) if isinstance(value, tuple) else value
        return found | ({} if self.recipe is None else {"recipe": as_plain(self.recipe)})
