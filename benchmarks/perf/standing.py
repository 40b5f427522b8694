"""Trials of the library's own methods that stand still: set up by the method itself, stepped from outside.

A method ends in `train`, which runs the loop. Here another function stands in its place, which keeps what `train` was
given and sets up the next method, until all of them stand and can be stepped in turn. So what is measured is what a
trial runs, objectives, held-out batches and all, and nothing of a method is written a second time.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from automl_kd.data import Batch, epoch_rows
from automl_kd.methods.base import Method
from automl_kd.models import build_model
from automl_kd.models.weights.checkpoint import save_weights
from automl_kd.space import Architecture, InputShape
from automl_kd.spec import DataSpec, Recipe, TeacherCacheOptions, TeacherSpec, TrialPaths, TrialSpec, teacher_trial
from automl_kd.training.training_run import OwnStep, TrainingObjective, TrainingRun
from automl_kd.training.trial import TrialContext

CLASSES, SIDE = 100, 32
SEED = 5


@dataclass(frozen=True, eq=False)
class Standing:
    """One method's trial before its first step; `macs`: what it says an image of its training costs."""

    run: TrainingRun
    objective: TrainingObjective | OwnStep
    macs: int

    @cached_property
    def rows(self) -> dict[int, Tensor]:
        return {}

    def batch(self, number: int) -> Batch:
        """That of step `number` of the run, as the loop would make it."""
        run = self.run
        epoch, step = number // run.steps + 1, number % run.steps
        if epoch not in self.rows:
            split = run.dataset.train
            self.rows[epoch] = epoch_rows(
                len(split), run.recipe, seed=run.order_seed, epoch=epoch, lengths=split.lengths
            )
        size = run.recipe.batch_size
        return run.batch(self.rows[epoch][step * size : (step + 1) * size], epoch, step)

    def step(self, number: int) -> Tensor:
        """The loop's work of one step: the batch, and what is done with it."""
        return self.run.take(self.objective, self.batch(number), number)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What trials are about: CIFAR-shaped noise in 100 classes, a student, a teacher whose weights were drawn."""

    student: str
    teacher: str
    recipe: Recipe
    images: int = 2000

    def spec(self, root: Path) -> TrialSpec:
        return TrialSpec(
            space=f"model:{self.student}",
            architecture=Architecture(()),
            method="measured",
            data=DataSpec(name=f"arrays:{root / 'noise.npz'}"),
            teacher=TeacherSpec(model=self.teacher),
            recipe=self.recipe,
            seed=SEED,
        )

    def drawn_teacher(self) -> nn.Module:
        """Random weights, and the running statistics that noise gives them: without these its logits overflow."""
        torch.manual_seed(SEED)
        teacher = build_model(self.teacher, InputShape(channels=3, height=SIDE, width=SIDE, classes=CLASSES))
        norms = [module for module in teacher.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = 1.0  # the next pass alone counts
        with torch.no_grad():
            teacher.train()(torch.randn(CLASSES, 3, SIDE, SIDE))
        for norm in norms:
            norm.momentum = 0.1
        return teacher

    def prepare(self, root: Path) -> TrialPaths:
        """Write the images and the teacher to disk, where methods look for them."""
        rng, spec = np.random.default_rng(SEED), self.spec(root)
        x_train, x_test = (
            rng.integers(256, size=(count, SIDE, SIDE, 3), dtype=np.uint8) for count in (self.images, CLASSES)
        )
        y_train, y_test = np.arange(self.images) % CLASSES, np.arange(CLASSES)
        np.savez(root / "noise.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
        trained = teacher_trial(TeacherSpec(model=self.teacher), spec.data).key
        save_weights(self.drawn_teacher(), root / "teachers" / trained / "student.pt")
        return TrialPaths(trial=root / "trial", teachers=root / "teachers", data=root)


def together(
    scene: Scene,
    methods: Mapping[str, Method],
    then: Callable[[dict[str, Standing]], None],
    banks: Mapping[str, TeacherCacheOptions] = {},
) -> None:
    """Set up one trial of each method and call `then` once, while all of them stand; `banks`: of those with one."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        paths = scene.prepare(root)
        places = {name: replace(paths, teacher_cache=banks.get(name, paths.teacher_cache)) for name in methods}
        stand(scene.spec(root), places, list(methods.items()), {}, then)


def stand(
    spec: TrialSpec,
    places: Mapping[str, TrialPaths],
    methods: list[tuple[str, Method]],
    standing: dict[str, Standing],
    then: Callable[[dict[str, Standing]], None],
) -> None:
    if not methods:
        then(standing)
        return
    (name, method), *others = methods

    def train(
        context: TrialContext,
        objective: TrainingObjective | OwnStep,
        _report: object,
        *,
        macs_per_image: int,
        loss_modules: nn.Module | None = None,
        **_: object,
    ) -> None:
        run = TrainingRun(context.student, context.dataset, context.spec.recipe, SEED, loss_modules)
        run.student.train()
        run.loss_modules.train()
        one = Standing(run, objective, macs_per_image)
        stand(spec, places, others, {**standing, name: one}, then)

    with patch.object(sys.modules[type(method).__module__], "train", train):
        method(spec, silent, places[name])


def silent(metrics: Mapping[str, float], *, epoch: int) -> None:
    """Report nothing."""
