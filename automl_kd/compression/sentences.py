"""A plan in words, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator

from automl_kd.compression.measured_speed import MeasuredSpeed
from automl_kd.compression.plan import CompressPlan
from automl_kd.config import Experiment
from automl_kd.data import TEXTS
from automl_kd.experiment.proposals import begins_warm
from automl_kd.results import units
from automl_kd.results.verdict.arms import ARMS
from automl_kd.spec import OF_WARM_STARTS


def plan_lines(experiment: Experiment, plan: CompressPlan, speed: MeasuredSpeed, spent: float) -> Iterator[str]:
    """What will be done, one line each: images, students, search, finals, time. `spent`: seconds on planning."""
    noun = "texts" if experiment.data.name.startswith(TEXTS) else "images"
    size = f" at {experiment.data.resolution} pixels" if experiment.data.resolution else ""
    yield (
        f"{noun}: {experiment.data.name}{size}, {speed.images:,} for training, {speed.labelled:,} of them labelled, "
        f"{speed.validation:,} for validation, {speed.test:,} for the test"
    )
    limits = {name: value for name, value in vars(experiment.budget).items() if value}
    wanted = ", ".join(
        f"{name} at most {units.format_count(value)}" for name, value in limits.items() if name != "profile"
    )
    what = "layers" if noun == "texts" else "slices"
    begin = f", which begin with {what} of the teacher" if experiment.student.init == "teacher" else ""
    yield f"students: {experiment.space}{f', {wanted}' if wanted else ''}{begin}"
    yield (
        f"search: at most {units.some(plan.trials, 'trial')} of {units.some(plan.epochs, 'epoch')}, about "
        f"{units.duration(plan.search_seconds / plan.workers)} with {units.some(plan.workers, 'worker')}"
    )
    finals = plan.finals
    yield (
        f"comparison at equal compute: {'; '.join(compared_trainings(experiment))}; "
        f"{units.some(finals.seeds, 'seed')} of {units.some(finals.epochs, 'epoch')} each, about "
        f"{units.duration(finals.seconds)}; lengths are settled when the search has ended"
    )
    teacher = f"{units.duration(speed.teacher_training)} of the teacher, " if speed.teacher_training else ""
    whole = units.duration(forecast_seconds(plan, speed, spent))
    yield (
        f"time: {teacher}{units.duration(plan.before)} until the first trial, {units.duration(plan.seconds)} of search "
        f"and comparison, {units.duration(plan.after)} of export and page, {units.duration(spent)} spent on this plan: "
        f"{whole} in all; an epoch of the default student takes {units.duration(speed.epoch)} here, and the teacher's "
        f"passes over its {noun} {units.duration(speed.teacher_epoch)} once for each seed"
    )


def compared_trainings(experiment: Experiment) -> Iterator[str]:
    """What is trained at the end, as tables call it."""
    absent = () if begins_warm(experiment) else OF_WARM_STARTS
    for role, title in ARMS.items():
        if role == "found-method" or (role in experiment.finalists.baselines and role not in absent):
            yield title.replace("default ", "").replace("found ", "") if is_fixed(experiment) else title


def is_fixed(experiment: Experiment) -> bool:
    """Whether there is one student, which is not searched."""
    return experiment.space.startswith("model:")


def forecast_seconds(plan: CompressPlan, speed: MeasuredSpeed, spent: float) -> float:
    """Wall-clock time of everything. `spent`: on planning."""
    return spent + speed.teacher_training + plan.before + plan.seconds + plan.after
