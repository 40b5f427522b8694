"""Looks for a preprocessing, or an order of classes, under which a teacher from a file does better than configured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from automl_kd import storage
from automl_kd.data import Dataset
from automl_kd.data.counter import draw_words, key
from automl_kd.experiment.preflight.reading import TeacherReading, assigned_classes, read_under, reordered_losses
from automl_kd.experiment.progress.events import Watcher
from automl_kd.models import build_model
from automl_kd.models.foreign.layout import lay_out
from automl_kd.models.pickled import label_pickled
from automl_kd.models.weights.checkpoint import load_weights
from automl_kd.results import units
from automl_kd.results.sheet import Column, Sheet
from automl_kd.spec import Preprocessing, TeacherSpec
from automl_kd.training.trial import teacher_shape

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

MAX_IMAGES, MIN_IMAGES = 1000, 100
TIME_LIMIT = 60.0
"""What all passes together may take, on as many images as that allows, `MIN_IMAGES` at least."""

STANDARD_ERRORS = 2.0
"""By so many a difference of losses must exceed zero."""

MIN_GAIN = 0.02
"""Lower gains are of no use, and there is always one among several alternatives."""

SHOWN_CLASSES = 20
"""Orders of more classes are written where there is room."""

IMAGES_PER_CLASS = 4
"""Fewer tell nothing of the order of classes."""

CONFIGURED = "as configured"
STREAM = 21  # the first word of the key that draws images, apart from those of the division and of views


@dataclass(frozen=True)
class Alternative:
    """One alternative. `gain`: by how much the mean loss is lower than as configured, `error` its standard error.

    `classes`: the output of each class; empty where that is as configured.
    """

    name: str
    preprocessing: Preprocessing
    classes: tuple[int, ...]
    accuracy: float
    fits: bool | None
    gain: float
    error: float

    @property
    def is_better(self) -> bool:
        return self.gain > max(STANDARD_ERRORS * self.error, MIN_GAIN)


@dataclass(frozen=True)
class Preflight:
    """`configured`: the teacher as it is described. `others`: alternatives, the best first.

    `images`: how many were seen. `seconds`: of a pass of the teacher, for one image.
    """

    configured: Alternative
    others: tuple[Alternative, ...]
    images: int
    seconds: float

    @property
    def better(self) -> Alternative | None:
        """The best alternative that beats what is configured, of those that fit if any does."""
        able = [one for one in self.others if one.is_better]
        return next((one for one in able if one.fits), able[0] if able else None)

    @property
    def none_fits(self) -> bool:
        """Whether the first layers are shown other images than in training, whatever was tried."""
        known = [one.fits for one in (self.configured, *self.others) if one.fits is not None]
        return bool(known) and not any(known)


def candidates(own: Preprocessing, channels: int) -> dict[str, Preprocessing]:
    """The preprocessing that is configured, and what else is common, by name; each once."""
    turned: Literal["rgb", "bgr"] = "rgb" if own.channels == "bgr" else "bgr"
    named = {f"{CONFIGURED}, but {turned.upper()}": replace(own, channels=turned)} if channels == 3 else {}
    common = {"the data's mean and std": Preprocessing(), "values from 0 to 1": same_for_all(0.0, 1.0)}
    common |= {"mean and std 0.5": same_for_all(0.5, 0.5), "values from 0 to 255": Preprocessing(white=255.0)}
    if channels == 3:
        common["ImageNet's mean and std"] = Preprocessing(mean=IMAGENET[0], std=IMAGENET[1])
        common |= {f"{name}, BGR": replace(one, channels="bgr") for name, one in common.items()}
    named |= common
    fitted = {
        name: replace(one, crop=own.crop, interpolation=own.interpolation, resize=own.resize)
        for name, one in named.items()
    }
    found = {CONFIGURED: own}
    for name, one in fitted.items():
        if all(effect_of(one, channels) != effect_of(known, channels) for known in found.values()):
            found[name] = one
    return found


def effect_of(one: Preprocessing, channels: int) -> tuple[object, ...]:
    """What it does to an image, however it is written."""
    moments = one.moments and tuple(values * channels if len(values) == 1 else values for values in one.moments)
    return moments, one.channels


def same_for_all(mean: float, std: float) -> Preprocessing:
    """The same for every channel."""
    return Preprocessing(mean=(mean,), std=(std,))


def run_preflight(teacher: TeacherSpec, dataset: Dataset, watcher: Watcher) -> Preflight:
    """Read the teacher's file and run it on validation images under every candidate, in the process that asks."""
    network = load_network(teacher, dataset)
    tried = candidates(teacher.preprocessing, dataset.shape.channels)
    order = torch.argsort(draw_words(key(STREAM), torch.arange(len(dataset.validation))))
    rows = order[: min(MIN_IMAGES, MAX_IMAGES)]
    watcher.stage(f"teacher checked under {len(tried)} kinds of preprocessing", len(tried), "kinds")
    readings: list[TeacherReading] = []
    for number, (name, one) in enumerate(tried.items(), start=1):
        readings.append(read_under(network, teacher, dataset, rows, name, one))
        if number == 1:
            more = min(MAX_IMAGES, int(TIME_LIMIT / (len(tried) * readings[0].seconds + 1e-9)))
            if more > len(rows) and len(order) > len(rows):
                rows = order[:more]
                readings = [read_under(network, teacher, dataset, rows, name, one)]
        watcher.step(number)
    return judge(readings, dataset.shape.classes)


def load_network(teacher: TeacherSpec, dataset: Dataset) -> nn.Module:
    """The teacher with its weights, frozen, that takes its own images and returns its own outputs."""
    shape = teacher_shape(teacher, dataset)
    with torch.random.fork_rng(devices=[]):
        network = build_model(teacher.model, shape)
    load_weights(network, storage.local_path(teacher.checkpoint), teacher.weights)
    lay_out(network.requires_grad_(False).eval(), shape, torch.channels_last)
    return network


def judge(readings: list[TeacherReading], classes: int) -> Preflight:
    """`readings`: the configured one first."""
    first = readings[0]
    others = [alternative(one, one.losses, one.accuracy, first) for one in readings[1:]]
    others += [found for one in readings for found in reordered(one, first, classes)]
    others.sort(key=lambda one: -one.gain)
    return Preflight(
        configured=alternative(first, first.losses, first.accuracy, first),
        others=tuple(others),
        images=len(first.labels),
        seconds=first.seconds,
    )


def alternative(
    reading: TeacherReading, losses: Tensor, accuracy: float, first: TeacherReading, classes: tuple[int, ...] = ()
) -> Alternative:
    gains = first.losses - losses
    error = float(gains.std()) / math.sqrt(len(gains)) if len(gains) > 1 else math.inf
    return Alternative(
        name=f"{reading.name}, classes in another order" if classes else reading.name,
        preprocessing=reading.preprocessing,
        classes=classes,
        accuracy=accuracy,
        fits=reading.fits,
        gain=float(gains.mean()),
        error=error,
    )


def reordered(reading: TeacherReading, first: TeacherReading, classes: int) -> Iterator[Alternative]:
    """The same preprocessing with the classes in the likeliest order, if that is another than the configured one."""
    if len(reading.labels) < IMAGES_PER_CLASS * classes:
        return
    order = assigned_classes(reading.logits, reading.labels, classes)
    if order != reading.classes:
        losses, accuracy = reordered_losses(reading)
        yield alternative(reading, losses, accuracy, first, order)


def table_of(found: Preflight) -> Sheet:
    columns = (
        Column("teacher"),
        Column("accuracy %", numeric=True),
        Column("loss against configured", numeric=True),
        Column("first layers"),
    )
    rows = [
        (
            one.name,
            units.percent(one.accuracy),
            f"{-one.gain:+.3f} ± {one.error:.3f}" if one is not found.configured else "",
            {True: "as in training", False: "other than in training", None: ""}[one.fits],
        )
        for one in (found.configured, *found.others)
    ]
    return Sheet(columns, tuple(rows))


def name_member(teacher: TeacherSpec, member: TeacherSpec, section: str) -> str:
    """What sentences call a teacher: its model where there are several."""
    return f"{section} ({label_pickled(member.model)})" if teacher.others else "the teacher"


def preflight_sentence(found: Preflight, name: str = "the teacher", section: str = "teacher") -> str:
    """What was found: that the teacher called `name` is configured well, or what does better.

    `section`: where an experiment describes it.
    """
    own, better = found.configured, found.better
    right = f"right on {units.percent(own.accuracy)} % of {found.images:,} validation images as configured"
    if better is None:
        hint = (
            "; yet under none of them do its first layers see images as in training: unless it was trained on images "
            "of another kind, look up its own preprocessing"
        )
        return f"{name} is {right}, and nothing else that was tried is better{hint if found.none_fits else ''}"
    does = (
        f"{name} is {right}, and on {units.percent(better.accuracy)} % with {better.name} (loss lower by "
        f"{better.gain:.3f} ± {better.error:.3f})"
    )
    if better.fits is False:
        return (
            f"{does}; yet none of the kinds of preprocessing that were tried fits, as under each its first layers see "
            f"other images than in training; look up how it was trained and set {section}.preprocessing"
        )
    return f"{does}; set {' and '.join(toml_settings(own, better, section))}"


def toml_settings(own: Alternative, better: Alternative, section: str) -> Iterator[str]:
    """The options that make the teacher what does better, as TOML writes them."""
    mine, wanted, preprocessing = own.preprocessing, better.preprocessing, f"{section}.preprocessing"
    if wanted.moments != mine.moments:
        if wanted.moments is None:
            yield f"{preprocessing}.mean = [] and {preprocessing}.std = []"
        elif wanted.white != 1:
            yield f"{preprocessing}.white = {wanted.white:g}"
        else:
            yield f"{preprocessing}.mean = {list(wanted.mean)} and {preprocessing}.std = {list(wanted.std)}"
    if wanted.channels != mine.channels:
        yield f'{preprocessing}.channels = "{wanted.channels}"'
    if better.classes:
        many = len(better.classes) > SHOWN_CLASSES
        line = classes_line(better, section)
        yield f"{section}.classes as 'automl-kd check-teacher FILE' prints it" if many else line


def classes_line(found: Alternative, section: str) -> str:
    return f"{section}.classes = {list(found.classes)}"


def as_record(found: Preflight) -> Mapping[str, object]:
    """Plain values, to be kept beside results."""
    return {
        "images": found.images,
        "seconds": found.seconds,
        "none_fits": found.none_fits,
        "alternatives": [
            {"name": one.name, "accuracy": one.accuracy, "gain": one.gain, "error": one.error, "fits": one.fits}
            for one in (found.configured, *found.others)
        ],
    }
