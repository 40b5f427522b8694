"""Lengths of trainings that are compared: how many epochs, with a fraction of the last one, cost as much as others.

Three readings say what is equal. "compute": multiply-adds of all passes. "shared-teacher": multiply-adds, where the
teacher's outputs on each view of an image are computed once, and each of the trials of the reading that read them from
the cache pays an equal part. "epochs": steps of the student, which are equal epochs where both have the same images.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

from automl_kd.data import Dataset
from automl_kd.experiment.context import ExperimentContext
from automl_kd.methods import cached_features, uses_unlabelled
from automl_kd.methods.base import Method
from automl_kd.spec import Recipe
from automl_kd.teacher_cache.cached_teacher import stand_still

CLOSE = 0.001
"""How far the cost of a length may be from its budget, as a fraction."""

NEAR_WHOLE = 0.005
"""Lengths so near to whole epochs, as a fraction, are rounded to them where the cost stays as near."""

SAME = 0.01
"""Lengths that differ by less, as a fraction, are trained once."""

FRACTION_DIGITS = 4
"""Of the fraction of the last epoch."""

TRIES = 12
"""How often a cost is asked for in order to find a length."""

SLACK = 0.05
"""With whole epochs: how far a method may exceed its share, so that a small surcharge does not cost an epoch."""

COST_ROUNDING = 1e-9
"""Tolerance in epochs: a quotient may exceed a whole number by rounding alone."""

Served = TypeVar("Served")


class Length(NamedTuple):
    """So many epochs, of the last one the fraction `last_epoch` of its steps."""

    epochs: int
    last_epoch: float = 1.0

    @property
    def passes(self) -> float:
        """Over the training images."""
        return self.epochs - 1 + self.last_epoch

    def applied(self, recipe: Recipe) -> Recipe:
        return dataclasses.replace(recipe, epochs=self.epochs, last_epoch=self.last_epoch)


Cost = Callable[[Length], float]
"""Multiply-adds of a training of a length."""


def length_of(passes: float) -> Length:
    """The length of so many passes over the images, above 0."""
    epochs = max(1, math.ceil(passes - 10**-FRACTION_DIGITS / 2))
    return Length(epochs, min(1.0, max(10**-FRACTION_DIGITS, round(passes - epochs + 1, FRACTION_DIGITS))))


def recipe_length(recipe: Recipe) -> Length:
    return Length(recipe.epochs, recipe.last_epoch)


def fitting_length(budget: float, cost: Cost, start: Length) -> Length:
    """The length that costs `budget` multiply-adds; whole epochs where the cost is within 0.5 % even so.

    `cost` rises with the length, and is about proportional to it at `start`: a search inside a method may add to it.
    """
    tried = {start: cost(start)}
    last = start
    while abs(tried[last] / budget - 1) > CLOSE and len(tried) < TRIES:
        last = length_of(last.passes * budget / tried[last])
        if last in tried:
            break
        tried[last] = cost(last)
    best = min(tried, key=lambda length: abs(tried[length] - budget))
    whole = Length(max(1, round(best.passes)))
    near = abs(whole.passes / best.passes - 1) <= NEAR_WHOLE
    return whole if near and abs(cost(whole) / budget - 1) <= NEAR_WHOLE else best


def whole_length_above(budget: float, cost: Cost) -> Length:
    """The fewest whole epochs that cost `budget`, where none costs more than the first."""
    first = cost(Length(1))
    epochs = max(1, math.ceil(budget / first - COST_ROUNDING))
    while cost(Length(epochs)) < budget - COST_ROUNDING * first:
        epochs += 1
    return Length(epochs)


def whole_length_below(budget: float, cost: Cost, start: Length) -> Length:
    """The most whole epochs that cost `budget` at most, or `SLACK` more; at least one, at any cost."""
    limit = budget * (1 + SLACK)
    epochs = max(1, int(limit * start.epochs / cost(Length(start.epochs))))
    while epochs > 1 and cost(Length(epochs)) > limit:
        epochs -= 1
    while cost(Length(epochs + 1)) <= limit:
        epochs += 1
    return Length(epochs)


class SharedTeacher(NamedTuple):
    """The part of a training's cost that the cache pays once for several trials.

    `macs`: of the teacher's passes over the training images, once. `sharers`: trials that read the same outputs.
    `still`: images are the same in every epoch, so that one epoch of outputs serves all.
    """

    macs: float
    sharers: int
    still: bool

    def saved(self, length: Length) -> float:
        """Multiply-adds that a training of this length does not pay: all its teacher's passes but its own part."""
        passes = length.passes
        views = min(passes, 1.0) if self.still else passes
        return self.macs * (passes - views / self.sharers)

    def cost(self, epoch_macs: float) -> Cost:
        """What is paid of trainings whose whole epoch costs `epoch_macs`."""
        return lambda length: length.passes * epoch_macs - self.saved(length)


UNSHARED = SharedTeacher(0.0, 1, still=False)


def shared_teachers(context: ExperimentContext, methods: Mapping[str, Method], seeds: int) -> dict[str, SharedTeacher]:
    """How each of several trainings shares the teacher with the others; `methods`: by the names of the trainings.

    Trials read the same outputs if they have the same images and feature layers and, where images change from epoch to
    epoch, the same seed. Nothing is shared where the cache does not serve a method. `seeds`: of each training.
    """
    wanted = {name: outputs_read(context, method) for name, method in methods.items()}
    found = {}
    for name, method in methods.items():
        if wanted[name] is None:
            found[name] = UNSHARED
            continue
        dataset = images_of(context, method)
        still = stand_still(dataset, context.experiment.recipe) and not cached_features(method)
        sharers = sum(one == wanted[name] for one in wanted.values()) * (seeds if still else 1)
        found[name] = SharedTeacher(float(len(dataset.train) * context.teacher_macs), sharers, still)
    return found


def images_of(context: ExperimentContext, method: Method) -> Dataset:
    """The set with the training images that a method's trials have."""
    return context.dataset.for_transfer if uses_unlabelled(method) else context.dataset


def outputs_read(context: ExperimentContext, method: Method) -> tuple[object, ...] | None:
    """What a training reads from the teacher cache: equal for those that read the same; None where nothing is."""
    features, keep = cached_features(method), context.banking.keep
    if features is None or keep == "off" or (features and keep != "features"):
        return None
    return (uses_unlabelled(method) and context.dataset.transfer is not None, tuple(sorted(features)))


def merge_lengths(lengths: Mapping[Served, Length]) -> dict[Length, list[Served]]:
    """The lengths to train, each with what it serves: of those within 1 % of an earlier one, the earlier."""
    found: dict[Length, list[Served]] = {}
    for served, length in lengths.items():
        same = (one for one in found if abs(one.passes / length.passes - 1) <= SAME)
        found.setdefault(next(same, length), []).append(served)
    return found
