"""What an experiment takes of which only a stand-in is run: multiply-adds, and hours of a GPU that is assumed."""

from __future__ import annotations

import dataclasses

import torch

from automl_kd.experiment.context import ExperimentContext
from automl_kd.experiment.preflight.student import count_trainings
from automl_kd.models.costs.cost import cost_of, count_cost
from automl_kd.results import units
from automl_kd.space import InputShape
from automl_kd.training.trial import build_teacher

SLOW, FAST = 25e12, 100e12
"""Multiply-adds a second that a data-centre GPU is assumed to carry out in bfloat16: about a twentieth of the peak of
one of 2023 for depthwise networks, a fifth for ResNets (docs/scale.md).
"""

STEP_PASSES = 3
"""Forward passes that a step of training takes: the backward pass is counted as two."""


def forecast_in_full(context: ExperimentContext) -> str:
    """What the experiment takes that `context.experiment.stand_in` describes.

    What the teacher's cache saves is left out. Each training costs what one of the baseline student by KD does.
    """
    experiment, full = context.experiment, context.experiment.stand_in
    trainings = trainings_in_full(context)
    epochs = full.search_epochs + trainings * full.epochs
    dataset = context.dataset
    shape = sized(dataset.student_shape, full.resolution)
    student = STEP_PASSES * cost_of(context.space, context.baseline, shape).macs
    teacher = 0
    with torch.random.fork_rng(devices=[]):
        for one in experiment.teacher.members:
            teacher += count_cost(build_teacher(one, dataset), sized(dataset.shape, full.resolution)).macs
    macs = full.images * (epochs * (student + teacher) + STEP_PASSES * full.teacher_epochs * teacher)
    searched = f"about {units.some(full.search_epochs, 'epoch')} of search and " if full.search_epochs else ""
    return (
        f"in full: {searched}at most {trainings:.4g} trainings of {full.epochs} epochs on {full.images:,} images, "
        f"{units.format_count(macs)} multiply-adds: {hours(macs, FAST)} to {hours(macs, SLOW)} GPU-hours at 100 to 25 "
        "T multiply-adds a second, rates that are assumed"
    )


def trainings_in_full(context: ExperimentContext) -> float:
    """Final trainings and those of choices, each as its part of a full one; without trials of a search."""
    experiment, seeds = context.experiment, context.experiment.stand_in.seeds
    if not experiment.comparison.methods:
        finalists = dataclasses.replace(experiment.finalists, seeds=tuple(range(seeds)))
        whole = dataclasses.replace(experiment, finalists=finalists)
        searched = experiment.search.trials if context.searched.parameters else 0
        return count_trainings(dataclasses.replace(context, experiment=whole)) - searched
    tuned, trained = 0, 0.0
    for one in experiment.comparison.methods:
        tuned += len(one.combinations) if len(one.combinations) > one.best else 0
        trained += one.best * sum(one.compute)
    comparison = experiment.comparison
    return seeds * trained * len(experiment.finalists.readings) + tuned * comparison.tuning * comparison.tuning_seeds


def sized(shape: InputShape, resolution: int) -> InputShape:
    return dataclasses.replace(shape, height=resolution, width=resolution) if resolution else shape


def hours(macs: float, rate: float) -> str:
    found = macs / rate / 3600
    return f"{found:,.0f}" if found >= 10 else f"{found:.1f}"
