"""What every method is, and the steps that all methods of training one student share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import ClassVar, Protocol

import torch
from torch import nn

from automl_kd import data, storage, team
from automl_kd.data import Dataset
from automl_kd.errors import ConfigError, StopTrial, TrialError
from automl_kd.methods.handover import write_card
from automl_kd.models import build, build_model, load_space
from automl_kd.models.checkpoint import load_weights
from automl_kd.models.cost import Cost, count
from automl_kd.models.latency import measure_latency
from automl_kd.models.layout import lay_out
from automl_kd.results.row import PRECISIONS
from automl_kd.seeds import derive
from automl_kd.space import TaskShape
from automl_kd.spec import DataSpec, Place, Recipe, Report, TeacherSpec, TrialSpec, teacher_trial
from automl_kd.training.evaluate import precision_of
from automl_kd.training.loop import Objective, OwnStep, fit

STEP = 3
"""Forward passes that a training step costs: one forward, and two in the backward (for inputs and for weights)."""


class Method(Protocol):
    """A `Trainable` whose options are its fields: a frozen dataclass with a default for each.

    `taught`: whether a trial of it needs a teacher in its spec. One that changes its teacher says so by a class
    variable `moves_teacher = True`: what such a teacher said is of no use to another trial.
    """

    taught: ClassVar[bool]

    def macs(self, student: int, teacher: int) -> int:
        """Multiply-adds spent on one image of one epoch, given those of one forward pass of each network."""
        ...

    def __call__(self, spec: TrialSpec, report: Report, place: Place) -> None: ...


class Quote:
    """Given to a trial as its report, it asks only what the trial will cost: nothing is trained, searched or written.

    `epoch_macs`: multiply-adds of one epoch, that of a search before it spread over the epochs; an upper bound where
    they depend on what the search finds. NaN until the trial was called, and if it knows no quotes; it is ended then
    by its first report.
    """

    epoch_macs: float = math.nan

    def __call__(self, metrics: Mapping[str, float], *, epoch: int) -> None:
        self.epoch_macs = metrics.get("train_macs", math.nan) / epoch
        raise StopTrial


@dataclass
class Tally:
    """The teacher's passes on training batches that go through a bank, since the last `take`.

    `asked`: passes that a trial without a bank would have made; `computed`: those that were made, for others included;
    `unkept`: those of them that found no room in the bank. `seconds`: what the passes that were not made would have
    taken, by the time that they took in the trial that made them.
    """

    asked: int = 0
    computed: int = 0
    unkept: int = 0
    seconds: float = 0.0

    def take(self) -> dict[str, float]:
        """As metrics, for the results table; empty without a bank."""
        asked, computed, unkept, seconds = self.asked, self.computed, self.unkept, self.seconds
        self.asked, self.computed, self.unkept, self.seconds = 0, 0, 0, 0.0
        if not asked:
            return {}
        return dict(zip(PASSES, (computed, asked - computed, unkept, seconds), strict=True))


PASSES = ("teacher_passes", "teacher_passes_saved", "teacher_passes_unkept", "teacher_seconds_saved")


@dataclass(frozen=True, eq=False)
class Setting:
    """One trial, set up: its images and its fresh student on the device. `tally`: of all its teacher's passes."""

    spec: TrialSpec
    place: Place
    dataset: Dataset
    student: nn.Module
    tally: Tally = field(default_factory=Tally)

    @cached_property
    def cost(self) -> Cost:
        return count(self.student, self.dataset.shape)


def set_up(spec: TrialSpec, place: Place) -> Setting:
    dataset = load_dataset(spec.data, place.data, place.device)
    student = build(load_space(spec.space), spec.architecture, dataset.shape, seed=derive(spec.seed, "student") % 2**32)
    return Setting(spec, place, dataset, on_device(student, spec, place, dataset.shape))


@lru_cache(maxsize=2)
def load_dataset(spec: DataSpec, root: Path, device: str) -> Dataset:
    """The images on the device; kept, because a worker process carries out many trials on the same ones."""
    return data.load(spec, root).to(device)


def on_device(model: nn.Module, spec: TrialSpec, place: Place, shape: TaskShape) -> nn.Module:
    """The network on the trial's device, in memory as the recipe says if it can be run so (`lay_out`)."""
    model.to(place.device)
    lay_out(model, shape, layout_of(spec.recipe))
    return model


def layout_of(recipe: Recipe) -> torch.memory_format:
    return torch.channels_last if recipe.channels_last else torch.contiguous_format


def load_teacher(setting: Setting) -> nn.Module:
    """The trial's teacher with its weights, frozen and in evaluation mode."""
    spec, place = setting.spec, setting.place
    if spec.teacher is None:
        raise TrialError(f"method {spec.method!r} needs a teacher and the trial names none; add a [teacher] section")
    teacher = build_model(spec.teacher.model, setting.dataset.shape)
    load_weights(teacher, teacher_file(spec.teacher, spec.data, place), spec.teacher.weights)
    return on_device(teacher.requires_grad_(False).eval(), spec, place, setting.dataset.shape)


def teacher_file(teacher: TeacherSpec, data: DataSpec, place: Place) -> Path:
    """Where its weights lie: in the file that is named, or where its training left them. Fetched, if in a bucket."""
    trained = place.teachers / teacher_trial(teacher, data).key / "student.pt"
    file = storage.local(teacher.checkpoint) if teacher.checkpoint else trained
    storage.pull_file(file)
    return file


def require_whole_steps(spec: TrialSpec) -> None:
    """`ConfigError` if the recipe accumulates gradients: for methods that take a step of their own on each batch."""
    if spec.recipe.accumulate > 1:
        raise ConfigError(
            f"method {spec.method!r} takes steps of its own on whole batches and cannot accumulate gradients "
            f"(recipe.accumulate is {spec.recipe.accumulate}); set recipe.accumulate = 1"
        )


def train(
    setting: Setting,
    objective: Objective | OwnStep,
    report: Report,
    *,
    macs_per_image: int,
    adapters: nn.Module | None = None,
) -> None:
    """Train the setting's student under `objective` and measure it.

    `adapters`: layers and memories of the objective, trained and checkpointed with the student but no part of it.
    `macs_per_image`: what the method says a training image costs. Every report carries params, macs (one forward pass
    of one image) and train_macs (all passes so far, as if none had been read from the bank), with a bank also `PASSES`
    so far, and the place of the precision in `PRECISIONS`; the last one also the latency of one image on the trial's
    device, measured beside whatever else runs there.
    """
    spec, dataset = setting.spec, setting.dataset
    epoch_macs = float(len(dataset.train) * macs_per_image)
    if isinstance(report, Quote):
        report.epoch_macs = epoch_macs
        return

    def finish() -> Mapping[str, float]:
        if not team.leads():
            return {}
        write_card(setting.place.trial, spec, dataset.shape)
        latency = measure_latency(setting.student, dataset.shape, device=setting.place.device)
        return {
            "latency_ms": latency.ms,
            "latency_iqr_ms": latency.iqr_ms,
            "latency_batch": latency.batch,
            "latency_threads": latency.threads,
        }

    passes: dict[str, float] = {}
    precision = PRECISIONS.index(precision_of(setting.student, dataset.train.labels.device, spec.recipe))

    def measured(metrics: Mapping[str, float], *, epoch: int) -> None:
        spent = {"params": setting.cost.params, "macs": setting.cost.macs, "train_macs": epoch * epoch_macs}
        passes.update({name: passes.get(name, 0) + metrics[name] for name in PASSES if name in metrics})
        report({**metrics, **spent, "precision": precision, **passes}, epoch=epoch)

    fit(
        setting.student,
        objective,
        dataset,
        spec.recipe,
        seed=spec.seed,
        folder=setting.place.trial,
        report=measured,
        finish=finish,
        adapters=adapters,
        tally=setting.tally.take,
        pausable=setting.place.pausable,
    )
