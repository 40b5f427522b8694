"""The whole check of an experiment's networks, for a command that runs nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from automl_kd.config import Experiment
from automl_kd.experiment.context import ExperimentContext, Roots
from automl_kd.experiment.preflight.memory import sentence_of_memory, training_memory
from automl_kd.experiment.preflight.preflight import classes_line, preflight_sentence, run_preflight, table_of
from automl_kd.experiment.preflight.student import forecast, overfit_one_batch, sentence_of_batch
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.progress.events import Watcher
from automl_kd.models.costs.cost import count_cost
from automl_kd.models.pickled import label_pickled
from automl_kd.results import units
from automl_kd.results.sheet import Sheet
from automl_kd.space import InputShape
from automl_kd.training.trial import build_teacher, teacher_shape


@dataclass(frozen=True)
class CheckedNetworks:
    """`table`: the teacher under each preprocessing; None for one that is trained. `misfit`: whether one is better."""

    table: Sheet | None
    lines: tuple[str, ...]
    misfit: bool


def check_everything(experiment: Experiment, roots: Roots, watcher: Watcher) -> CheckedNetworks:
    """Check teacher and baseline student; nothing is written but what large data sets keep."""
    context = prepare_experiment(experiment, roots, watcher)
    watcher.note(context.account["line"])
    batch = overfit_one_batch(context)
    memory = sentence_of_memory(training_memory(context))
    lines = [*describe_networks(context), sentence_of_batch(batch), memory]
    teacher = context.experiment.teacher
    if not teacher.checkpoint:
        last_line = "the teacher is trained on these images, so there is no file to check"
        return CheckedNetworks(None, (*lines, last_line), misfit=False)
    found = run_preflight(teacher, context.dataset, watcher)
    orders = [classes_line(found.better)] if found.better is not None and found.better.classes else []
    last = [forecast(context, batch.seconds, found.seconds), preflight_sentence(found), *orders]
    return CheckedNetworks(table_of(found), (*lines, *last), misfit=found.better is not None)


def describe_networks(context: ExperimentContext) -> list[str]:
    """Size, cost and images of both networks."""
    teacher, dataset = context.experiment.teacher, context.dataset
    shape = teacher_shape(teacher, dataset)
    params = count_cost(build_teacher(teacher, dataset), dataset.shape).params
    student, own = context.cost(context.baseline), dataset.student_shape
    outputs = f", of whose {shape.classes:,} outputs {len(teacher.classes):,} are used" if teacher.classes else ""
    return [
        f"teacher {label_pickled(teacher.model)}: {units.format_count(params)} parameters, "
        f"{units.format_count(context.teacher_macs)} multiply-adds for an image of {size_of(shape)}{outputs}",
        f"student {context.space.label(context.baseline)}: {units.format_count(student.params)} parameters, "
        f"{units.format_count(student.macs)} multiply-adds for an image of {size_of(own)}",
    ]


def size_of(shape: InputShape) -> str:
    return f"{shape.channels}x{shape.height}x{shape.width}"
