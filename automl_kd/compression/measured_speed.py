"""How fast trials train here, measured by trials that end after a few steps, as many at once as will run at once."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from automl_kd.cluster.lasting_workers import worker_pool
from automl_kd.cluster.sessions.growing import wait_for_resources
from automl_kd.cluster.sessions.session import concurrency, session, trains_here
from automl_kd.compression.searched_students import searched_students
from automl_kd.compression.timed_trials import TimedTrials, time_trials
from automl_kd.config import Experiment
from automl_kd.errors import TrialError
from automl_kd.experiment.context import ExperimentContext
from automl_kd.experiment.preflight.memory import keep_trials_to_memory
from automl_kd.experiment.proposals import Proposal, begins_warm, plain_kd
from automl_kd.experiment.stages.finals import final_spec, price_by_formula
from automl_kd.experiment.stages.lengths import images_of, length_of, recipe_length
from automl_kd.methods import make_method
from automl_kd.spec import FOUND_LABELS, OF_WARM_STARTS, TrialSpec, steps_per_epoch

SPEED_STEPS = (3, 12)
"""Of the shorter and the longer trials: their difference is free of what a training takes once."""

STEPS_FACTOR = 4
"""Times as many steps have the longer trials while their difference is no clearer than `CLEAR_SECONDS`."""

CLEAR_SECONDS = 3.0
"""Between trials of two lengths: less of it is drowned by how much their other seconds vary."""

FORWARD_SHARE = 1 / 3
"""Of a step, which is a forward pass and a backward pass of twice its cost."""

TEST_PASSES = 1.5
"""Of a training: over the weights of the last epoch, and those of the best where it is another."""

TRIAL_SECONDS = 3.0
"""The least that is taken for starting and ending a trial, beside its passes: what is read and written, and the first
slow steps. Networks of many weights were measured to take longer.
"""

EXTREME_PACE = 5.0
"""A measured pace beyond it, or below its inverse, was disturbed by something else."""

SPEED_SEED = 999_000
"""Of measured trials, which share views with no other."""


@dataclass(frozen=True, kw_only=True)
class MeasuredSpeed:
    """Seconds of one worker while all others work.

    `step`: of the student's step, for one image. `teacher`: of the teacher's pass, for one image. `images`: that KD
    trains on in an epoch, `labelled`: that training from scratch does. `validation`, `test`: images of these.
    `scratch_ratio`: epochs from scratch that cost as many multiply-adds as one epoch with the teacher's passes. `size`:
    multiply-adds of a student that the search proposes, over those of the default. `pace`: what each of these takes,
    over the default's: kernels and squeezing cost more time than they cost multiply-adds. `teacher_training`: of a
    teacher that is trained first, 0 for one from a file. `trial`: what each trial takes beside. `untaught`: trainings
    without a teacher that the found student is compared with, for each seed. `workers`: trials at once, 1 or more.
    `seconds`: that the measuring took.
    """

    step: float
    teacher: float
    images: int
    labelled: int
    validation: int
    test: int
    scratch_ratio: float
    workers: int
    size: float = 1.0
    pace: float = 1.0
    teacher_training: float = 0.0
    trial: float = TRIAL_SECONDS
    untaught: int = 1
    seconds: float = 0.0

    @property
    def check(self) -> float:
        """Of validation after an epoch."""
        return self.validation * self.step * FORWARD_SHARE

    @property
    def epoch(self) -> float:
        """Of KD, whose teacher is read from the cache, with validation."""
        return self.images * self.step + self.check

    @property
    def scratch_epoch(self) -> float:
        return self.labelled * self.step + self.check

    @property
    def teacher_epoch(self) -> float:
        """Of the teacher's passes over the training images of one epoch."""
        return self.images * self.teacher

    @property
    def teacher_share(self) -> float:
        """Multiply-adds of the teacher's pass over those of a step of the default student."""
        return max(0.0, self.scratch_ratio * self.labelled / self.images - 1)

    @property
    def default_ratio(self) -> float:
        """Epochs of the default student by KD that cost as many multiply-adds as one of a student that is searched."""
        return (self.size + self.teacher_share) / (1 + self.teacher_share)

    def passes(self, epochs: float) -> float:
        """Of KD for so many epochs, and of the test at its end."""
        return epochs * self.epoch + self.tested

    @property
    def tested(self) -> float:
        """Of the test at the end of a training."""
        return TEST_PASSES * self.test * self.step * FORWARD_SHARE


def measure_speed(context: ExperimentContext, address: str = "") -> MeasuredSpeed:
    """Train the default student of `context` for some steps, from scratch and by KD; nothing of it is kept.

    `TrialError` if none of these trials came through.
    """
    begun = time.monotonic()
    if trains_here(context.experiment.trial, address):  # as the run will do
        context = keep_trials_to_memory(context)
    with session(address, context.experiment.trial), worker_pool() as pool:
        with wait_for_resources(context.experiment.trial, 1, context.watcher.note) as found:
            trial = dataclasses.replace(context.experiment.trial, device=found.device)
        context = dataclasses.replace(
            context, experiment=dataclasses.replace(context.experiment, trial=trial), workers=pool
        )
        workers = max(1, concurrency(trial))
        alone = time_step(context, proposal_specs(context, "scratch"), workers)
        step = alone.per_image
        if context.experiment.teacher.checkpoint:
            specs = proposal_specs(context, "kd")(alone.steps, workers)
            passes, training = alone.rest_of(time_trials(context, specs).seconds, images_in(context, specs[0])), 0.0
        else:
            teacher_step = time_step(context, teacher_specs(context), 1).per_image
            passes = teacher_step * FORWARD_SHARE
            training = context.teacher_training.recipe.epochs * len(context.dataset.train) * teacher_step
        size, pace = measure_searched(context, alone, workers)
    return MeasuredSpeed(
        step=step,
        size=size,
        pace=pace,
        teacher=passes,
        teacher_training=training,
        images=len(images_of(context, make_method("kd", {})).train),
        labelled=len(context.dataset.train),
        validation=len(context.dataset.validation),
        test=len(context.dataset.test),
        scratch_ratio=equal_ratio(context),
        trial=max(TRIAL_SECONDS, alone.beside),
        untaught=count_untaught(context.experiment),
        workers=workers,
        seconds=time.monotonic() - begun,
    )


def count_untaught(experiment: Experiment) -> int:
    """Baselines that are trained on labels alone; those of a warm start where students have one."""
    waits = () if begins_warm(experiment) else OF_WARM_STARTS
    return len({*experiment.finalists.baselines} & {"default-scratch", "found-scratch", FOUND_LABELS} - {*waits})


def measure_searched(context: ExperimentContext, alone: TimedSteps, workers: int) -> tuple[float, float]:
    """Size and pace of what the search will propose, by some of it; `alone`: steps of the default student.

    The default's pace where none of it comes through, as a search survives that too.
    """
    if not context.space.parameters:
        return 1.0, 1.0
    size, students = searched_students(context)
    length = proposal_specs(context, "scratch")(alone.steps, 1)[0].recipe
    specs = [
        final_spec(context, Proposal(one, "scratch"), recipe_length(length), SPEED_SEED) for one in students[:workers]
    ]
    once = alone.seconds - alone.images * alone.per_image
    try:
        taken = max(0.0, time_trials(context, specs).seconds - once) / images_in(context, specs[0])
    except TrialError:
        return size, 1.0
    mean = fmean(context.cost(spec.architecture).macs for spec in specs) / context.cost(context.baseline).macs
    return size, min(max(taken / alone.per_image / mean, 1 / EXTREME_PACE), EXTREME_PACE)


def equal_ratio(context: ExperimentContext) -> float:
    """Epochs from scratch whose multiply-adds are those of one epoch of KD, of the default student."""
    by_kd = plain_kd(context.experiment, context.baseline)
    alone = dataclasses.replace(by_kd, method="scratch", options={})
    return price_by_formula(context, by_kd) / price_by_formula(context, alone)


SpecsOf = Callable[[int, int], list[TrialSpec]]
"""The trials, so many at once, that each make so many steps."""


class TimedSteps(NamedTuple):
    """Seconds of a step for one image; of a whole trial, and the images that it trained on in how many steps.

    `beside`: seconds that the trial took beside its training.
    """

    per_image: float
    seconds: float
    images: int
    steps: int = SPEED_STEPS[1]
    beside: float = 0.0

    def rest_of(self, seconds: float, images: int) -> float:
        """Seconds for each of the `images` of another trial, which took `seconds`, beyond those of these steps."""
        same = self.seconds + (images - self.images) * self.per_image
        return max(0.0, seconds - same) / images


def time_step(context: ExperimentContext, specs_of: SpecsOf, workers: int) -> TimedSteps:
    """By trials of two lengths, which are one where an epoch has no more steps; the longer as long as it must be."""

    def timed(steps: int) -> tuple[TimedTrials, int]:
        specs = specs_of(steps, workers)
        return time_trials(context, specs), images_in(context, specs[0])

    few, steps = SPEED_STEPS
    (one, fewer), (two, images) = timed(few), timed(steps)
    while (
        two.seconds - one.seconds < CLEAR_SECONDS and images_in(context, specs_of(steps * STEPS_FACTOR, 1)[0]) > images
    ):
        steps *= STEPS_FACTOR
        two, images = timed(steps)
    per_image = (two.seconds - one.seconds) / (images - fewer) if images > fewer else two.seconds / images
    return TimedSteps(max(1e-9, per_image), two.seconds, images, steps, two.beside)


def images_in(context: ExperimentContext, spec: TrialSpec) -> int:
    """That a trial within its first epoch trains on."""
    rows = len(context.dataset.train)
    if spec.method != "scratch":
        rows = len(images_of(context, make_method(spec.method, spec.options)).train)
    return spec.recipe.steps_in(1, steps_per_epoch(rows, spec.recipe.batch_size)) * spec.recipe.batch_size


def proposal_specs(context: ExperimentContext, method: str) -> SpecsOf:
    by_kd = plain_kd(context.experiment, context.baseline)
    proposal = by_kd if method == "kd" else dataclasses.replace(by_kd, method=method, options={})
    rows = len(images_of(context, proposal.made).train)

    def make(steps: int, count: int) -> list[TrialSpec]:
        length = length_of(min(1.0, steps * context.experiment.recipe.batch_size / rows))
        return [final_spec(context, proposal, length, SPEED_SEED + number) for number in range(count)]

    return make


def teacher_specs(context: ExperimentContext) -> SpecsOf:
    """Of a teacher that is not trained yet."""
    spec, rows = context.teacher_training, len(context.dataset.train)

    def make(steps: int, count: int) -> list[TrialSpec]:
        recipe = length_of(min(1.0, steps * spec.recipe.batch_size / rows)).applied(spec.recipe)
        return [dataclasses.replace(spec, recipe=recipe, seed=SPEED_SEED + number) for number in range(count)]

    return make
