"""A plan in words, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator

from automl_kd.compress.measured_speed import MeasuredSpeed
from automl_kd.compress.plan import CompressPlan
from automl_kd.config import Experiment
from automl_kd.results import units


def plan_lines(experiment: Experiment, plan: CompressPlan, speed: MeasuredSpeed) -> Iterator[str]:
    """What will be done, one line each: images, students, search, finals, time and disk."""
    size = f" at {experiment.data.resolution} pixels" if experiment.data.resolution else ""
    yield (
        f"images: {experiment.data.name}{size}, {speed.images:,} for training, {speed.labelled:,} of them labelled, "
        f"{speed.validation:,} for validation, {speed.test:,} for the test"
    )
    limits = {name: value for name, value in vars(experiment.budget).items() if value}
    wanted = ", ".join(
        f"{name} at most {units.format_count(value)}" for name, value in limits.items() if name != "profile"
    )
    begin = ", which begin with slices of the teacher" if experiment.student.init == "teacher" else ""
    yield f"students: {experiment.space}{f', {wanted}' if wanted else ''}{begin}"
    yield (
        f"search: at most {units.some(plan.trials, 'trial')} of {units.some(plan.epochs, 'epoch')}, about "
        f"{units.duration(plan.search_seconds / plan.workers)} with {units.some(plan.workers, 'worker')}"
    )
    finals = plan.finals
    yield (
        f"comparison: found student, default student by plain KD and found student from scratch at equal compute, "
        f"{units.some(finals.seeds, 'seed')} of {units.some(finals.epochs, 'epoch')} each, about "
        f"{units.duration(finals.seconds / plan.workers)}; lengths are settled when the search has ended"
    )
    yield (
        f"time: {units.duration(plan.seconds)} of search and comparison, {units.duration(plan.reserve)} kept for "
        f"export, page and what takes longer; an epoch of the default student takes {units.duration(speed.epoch)} "
        f"here, and the teacher's passes over its images {units.duration(speed.teacher_epoch)} once for each seed"
    )
