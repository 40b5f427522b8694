"""Weighted sums of losses, written as one string: "kd=0.9, at=1000, at.power=2, ce=0.1".

Each entry is a loss with its weight, or with `.` one of its options; a name alone takes the standard weight. "ce" is
the cross entropy on the labels. It is always there: with the weight 1 where it is not named, or, where a single loss
is named by its name alone, with the weight that goes with that loss. Every loss also understands

    start, until   the part of the run in which it counts, as fractions in [0, 1]; outside it costs nothing
    warmup         the fraction of the run, from `start` on, over which its weight rises linearly
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn

from automl_kd import distributed
from automl_kd.config import parse_record
from automl_kd.data import Batch
from automl_kd.errors import ConfigError
from automl_kd.losses import DISTILLATION_LOSSES
from automl_kd.losses.base import Example, FeatureNames, Loss, LossFunction, LossTerms, Standard
from automl_kd.losses.cross_entropy import CrossEntropy
from automl_kd.models.features import Outputs
from automl_kd.registry import lookup_options
from automl_kd.seeds import derive
from automl_kd.space import Scalar
from automl_kd.spec import Recipe, require
from automl_kd.tasks.soft_targets import Number

V = TypeVar("V")

LOSSES: Mapping[str, type[Loss]] = {"ce": CrossEntropy, **DISTILLATION_LOSSES}

loss_type = partial(lookup_options, LOSSES, kind="loss", members=("standard", "features", "make"))
"""From a name to the table's entry, or to what `module:attribute` refers to; `ConfigError` if that is no loss."""

SCHEDULE = ("start", "until", "warmup")

MAX_WEIGHT = torch.finfo(torch.float32).max
"""Of weights and options: losses are evaluated in float32, where more than this is infinite."""


@dataclass(frozen=True)
class WeightedLoss:
    """One loss of a sum. `weight` >= 0; `start`, `until`, `warmup`: fractions of the run."""

    name: str
    loss: Loss
    weight: float
    start: float = 0.0
    until: float = 1.0
    warmup: float = 0.0

    def __post_init__(self) -> None:
        require(
            self.weight >= 0 and math.isfinite(self.weight), f"{self.name} must be a weight >= 0, got {self.weight}"
        )
        require(self.weight <= MAX_WEIGHT, f"{self.name}={self.weight} is more than float32 holds; give at most 1e38")
        require(
            0 <= self.start < self.until <= 1,
            f"{self.name} needs 0 <= start < until <= 1, got {self.start} and {self.until}",
        )
        require(0 <= self.warmup <= 1, f"{self.name}.warmup must lie in [0, 1], got {self.warmup}")

    @property
    def whole_batch(self) -> bool:
        return getattr(self.loss, "whole_batch", False)

    def share(self, epoch: int, epochs: int) -> float:
        """The factor of the weight in `epoch`, counted from 1, of `epochs`: from 0 (not evaluated) to 1."""
        begun, ended = round(self.start * epochs), round(self.until * epochs)
        if not begun < epoch <= ended or self.weight == 0:
            return 0.0
        rise = self.warmup * epochs
        return min((epoch - begun) / rise, 1.0) if rise else 1.0


@dataclass(frozen=True)
class Mix:
    """A weighted sum of losses; itself a loss."""

    standard: ClassVar[Standard] = Standard(weight=1.0)
    parts: tuple[WeightedLoss, ...]

    @property
    def needs_labels(self) -> bool:
        """Whether a loss but the cross entropy looks at labels, so that images without one are of no use to the sum."""
        return bool(self.with_attribute("needs_labels"))

    def with_attribute(self, name: str) -> tuple[str, ...]:
        """The names of those losses whose class variable `name` is true."""
        return tuple(part.name for part in self.parts if getattr(part.loss, name, False))

    @property
    def features(self) -> FeatureNames:
        together = FeatureNames()
        for part in self.parts:
            together |= part.loss.features
        return together

    def make(self, example: Example) -> Mixed:
        """Layers begin with weights that depend on the example's seed and their loss alone."""
        mixed = Mixed(self.parts, [make_part(part, example) for part in self.parts], example.epochs)
        if idle := mixed.phases().get(()):
            raise ConfigError(f"losses: none counts in epoch {idle[0]} of {example.epochs}; let one start earlier")
        return mixed


def make_part(part: WeightedLoss, example: Example) -> LossFunction:
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(derive(example.seed, part.name) % 2**32)
        return part.loss.make(example)


class Mixed(nn.Module):
    """A loss function made of loss functions; its state is theirs. `weights` replace those of the parts they name.

    A tensor as weight is how an outer problem differentiates through it.
    """

    def __init__(self, parts: tuple[WeightedLoss, ...], loss_functions: list[LossFunction], epochs: int) -> None:
        super().__init__()
        self.parts, self.loss_functions, self.epochs = parts, loss_functions, epochs
        own = {part.name: made for part, made in zip(parts, loss_functions, strict=True) if isinstance(made, nn.Module)}
        # References contain dots, which names of modules may not.
        self.layers = nn.ModuleDict({name.replace(".", "_"): made for name, made in own.items()})

    def forward(
        self, student: Outputs, teacher: Outputs, batch: Batch, weights: Mapping[str, Number] | None = None
    ) -> LossTerms:
        terms: dict[str, Tensor] = {}
        counted = [
            one for one in zip(self.parts, self.loss_functions, strict=True) if one[0].share(batch.epoch, self.epochs)
        ]
        given = (student, teacher, batch)
        everything = gather_outputs(*given, [part for part, _ in counted if part.whole_batch])
        for part, loss_function in counted:
            weight = part.share(batch.epoch, self.epochs) * (weights or {}).get(part.name, part.weight)
            with distributed.whole_batch() if part.whole_batch else nullcontext():
                found = loss_function(*(everything if part.whole_batch else given))
            for name, term in found.items():
                terms[name] = term if name.endswith(".own") else weight * term
        return terms

    def phases(self) -> dict[tuple[str, ...], list[int]]:
        """The epochs by the names of the parts that are evaluated in them."""
        found: dict[tuple[str, ...], list[int]] = {}
        for epoch in range(1, self.epochs + 1):
            counted = tuple(part.name for part in self.parts if part.share(epoch, self.epochs))
            found.setdefault(counted, []).append(epoch)
        return found


def gather_outputs(
    student: Outputs, teacher: Outputs, batch: Batch, parts: Sequence[WeightedLoss]
) -> tuple[Outputs, Outputs, Batch]:
    """What all processes have of the batch, as far as `parts` look at it; every process then has it all."""
    if batch.parts == 1 or not parts:
        return student, teacher, batch
    features = [part.loss.features for part in parts]
    names = ({name for one in features for name in one.student}, {name for one in features for name in one.teacher})
    one, two = (
        Outputs(
            distributed.gather_shards(seen.logits),
            {name: distributed.gather_shards(seen.features[name]) for name in sorted(wanted)},
        )
        for seen, wanted in zip((student, teacher), names, strict=True)
    )
    inputs, labels, index = (
        distributed.gather_shards(value) for value in (batch.inputs[:, :0], batch.labels, batch.index)
    )
    return one, two, Batch(inputs, labels, index, batch.epoch)


def read_mix(text: str, *, recipe: Recipe | None = None) -> Mix:
    """The sum that `text` describes. "ce" has the loss and smoothing of `recipe` unless its own options set others.

    What it names wrongly is an `UnknownNameError`, any other mistake a `ConfigError`.
    """
    weights, options = parse_entries(text)
    if not weights:
        raise ConfigError(
            f"losses = {text!r} names no loss, so that nothing would be distilled; name one, such as kd, or ce for the "
            "labels alone"
        )
    if len(weights) == 1 and (alone := next(iter(weights))) != "ce" and weights[alone] is None:
        weights["ce"] = loss_type(alone).standard.ce
    weights.setdefault("ce", None)
    if recipe is not None:
        given = {"label_smoothing": recipe.label_smoothing, "form": recipe.loss}
        options["ce"] = {**given, **options.get("ce", {})}
    if stray := [name for name in options if name not in weights]:
        raise ConfigError(f"losses: {stray[0]!r} has an option but is not in the sum; add it, or drop the option")
    mix = Mix(tuple(make_loss(name, weight, options.get(name, {})) for name, weight in weights.items()))
    if not any(part.weight for part in mix.parts):
        raise ConfigError(f"losses: every weight in {text!r} is 0; give one loss a weight above 0")
    return mix


def parse_entries(text: str) -> tuple[dict[str, float | None], dict[str, dict[str, Scalar]]]:
    """Weights by loss, None for a name alone, and options by loss."""
    weights: dict[str, float | None] = {}
    options: dict[str, dict[str, Scalar]] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = (part.strip() for part in entry.partition("="))
        name, _, option = key.rpartition(".")
        if name and ":" not in option:
            if not value:
                raise ConfigError(f"losses: {entry!r} needs a value; write it as {key}=value")
            put_new(options.setdefault(name, {}), option, scalar(value), entry)
        else:
            put_new(weights, key, as_weight(key, value) if equals else None, entry)
    return weights, options


def put_new(table: dict[str, V], key: str, value: V, entry: str) -> None:
    if key in table:
        raise ConfigError(f"losses: {entry!r} names something for the second time; keep one")
    table[key] = value


def as_weight(name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise ConfigError(f"losses: {name}={value} is not a weight; write a number, as in {name}=1") from error


def scalar(text: str) -> Scalar:
    """A bool, an integer or a real number where the text is one, else the text."""
    if text in {"true", "false"}:
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def make_loss(name: str, weight: float | None, options: Mapping[str, Scalar]) -> WeightedLoss:
    kind = loss_type(name)
    for key, value in options.items():
        if not isinstance(value, str) and abs(value) > MAX_WEIGHT:
            raise ConfigError(f"losses: {name}.{key}={value} is more than float32 holds; give at most 1e38")
    schedule = {key: options[key] for key in SCHEDULE if key in options}
    own = {key: value for key, value in options.items() if key not in SCHEDULE}
    loss = parse_record(kind, own, f"options of loss {name!r}")
    for key, value in schedule.items():
        if isinstance(value, bool | str):
            raise ConfigError(f"losses: {name}.{key} = {value!r} does not fit; it should be a number in [0, 1]")
    numbers = {"warmup": kind.standard.warmup, **{key: float(value) for key, value in schedule.items()}}
    try:
        loss.features  # noqa: B018 - refuses stages that cannot be read, before anything is built
        return WeightedLoss(name, loss, kind.standard.weight if weight is None else weight, **numbers)
    except ValueError as error:
        raise ConfigError(f"losses: {error}") from error
