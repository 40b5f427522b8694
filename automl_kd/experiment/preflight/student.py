"""What a student's training will take, and whether it can learn at all: some steps on one batch."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch

from automl_kd.data import Batch, plain_view
from automl_kd.experiment.context import ExperimentContext
from automl_kd.experiment.progress.reporter import count_finals
from automl_kd.losses.cross_entropy import label_loss
from automl_kd.models.memory_layout import laid_out
from automl_kd.results import units
from automl_kd.training.optimizers import make_optimizer
from automl_kd.training.trial import build_student

STEPS = 20
MEMORISED = 32

LEARNT = 0.8
"""The loss after so many steps must be below this part of the first one."""


@dataclass(frozen=True)
class OneBatch:
    """Cross entropy of the first and the last step on the same images, and seconds of a step for one image."""

    first: float
    last: float
    seconds: float

    @property
    def learns(self) -> bool:
        return self.last < LEARNT * self.first


def overfit_one_batch(context: ExperimentContext) -> OneBatch:
    """Train the baseline student on a few images over and over, at the highest rate of the recipe."""
    dataset, recipe = context.dataset, context.experiment.recipe
    rows = torch.arange(min(MEMORISED, len(dataset.train)))
    split = dataset.train
    batch = Batch(plain_view(dataset, split, rows), split.labels[rows], split.index[rows], epoch=1, task=dataset.task)
    inputs = laid_out(batch.inputs, recipe)
    with torch.random.fork_rng(devices=[]):
        student = build_student(context.space, context.baseline, dataset, seed=0).train()
        if recipe.channels_last:
            student.to(memory_format=torch.channels_last)
        optimizer = make_optimizer(list(student.parameters()), replace(recipe, warmup=0.0))
        losses = []
        begun = time.monotonic()
        for _ in range(STEPS):
            optimizer.zero_grad(set_to_none=True)
            loss = label_loss(student(inputs), batch)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
            optimizer.step()
            losses.append(loss.item())
    return OneBatch(losses[0], losses[-1], (time.monotonic() - begun) / STEPS / len(rows))


def sentence_of_batch(found: OneBatch) -> str:
    fell = f"the student's loss on one batch went from {found.first:.2f} to {found.last:.2f} in {STEPS} steps"
    return fell if found.learns else f"{fell}: it hardly learns; lower or raise recipe.lr, or take another student"


def forecast(context: ExperimentContext, student_seconds: float, teacher_seconds: float) -> str:
    """What all trainings take on this machine, one after the other, if each costs what the baseline student's does.

    Without trials that are stopped early, and without those that tune the options of a comparison.
    """
    experiment, images = context.experiment, len(context.dataset.for_transfer.train)
    epoch = images * (student_seconds + teacher_seconds)
    count = count_trainings(context)
    trained = count * experiment.recipe.epochs * epoch
    return (
        f"at most {count} trainings of {experiment.recipe.epochs} epochs on {images:,} images would take about "
        f"{units.duration(trained)} one after the other on this machine with the baseline student, of which "
        "the teacher's passes are "
        f"{units.percent(teacher_seconds / (student_seconds + teacher_seconds))} % where none is read from the cache"
    )


def count_trainings(context: ExperimentContext) -> int:
    """Of the search, the choice among its best and the finals; of a comparison, of each method with every seed."""
    experiment, seeds = context.experiment, len(context.experiment.finalists.seeds)
    if experiment.comparison.methods:
        entries = sum(one.best * len(one.compute) for one in experiment.comparison.methods)
        return seeds * entries * len(experiment.finalists.readings)
    if not context.searched.parameters:
        return count_finals(experiment)
    chosen = experiment.finalists.count * seeds if experiment.finalists.count > 1 else 0
    return experiment.search.trials + chosen + count_finals(experiment)
