"""The whole check of an experiment's networks, for a command that runs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from automl_kd.config import Experiment
from automl_kd.data import Dataset
from automl_kd.experiment.context import ExperimentContext, Roots
from automl_kd.experiment.preflight.memory import sentence_of_memory, training_memory
from automl_kd.experiment.preflight.preflight import (
    classes_line,
    name_member,
    preflight_sentence,
    run_preflight,
    table_of,
)
from automl_kd.experiment.preflight.student import forecast, overfit_one_batch, sentence_of_batch
from automl_kd.experiment.preflight.together import together_sentence
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.progress.events import Watcher
from automl_kd.models.costs.cost import count_cost
from automl_kd.models.pickled import label_pickled
from automl_kd.results import units
from automl_kd.results.sheet import Sheet
from automl_kd.spec import TeacherSpec, teacher_sections
from automl_kd.training.trial import build_teacher, teacher_shape


@dataclass(frozen=True)
class CheckedNetworks:
    """`tables`: each teacher under each preprocessing, by title; none for one that is trained, or without classes.

    `misfit`: whether one is better.
    """

    tables: Mapping[str, Sheet]
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
        return CheckedNetworks({}, (*lines, last_line), misfit=False)
    task = context.dataset.task
    if not task.labels_are_classes:
        last_line = f"kinds of preprocessing are compared by classes, and data.task is {task.name!r}: none was tried"
        return CheckedNetworks({}, (*lines, last_line), misfit=False)
    found = [run_preflight(one, context.dataset, watcher) for one in teacher.members]
    lines.append(forecast(context, batch.seconds, sum(one.seconds for one in found)))
    tables = {}
    for checked, one, section in zip(found, teacher.members, teacher_sections(teacher), strict=True):
        name = name_member(teacher, one, section)
        tables[f"{name} on validation images"] = table_of(checked)
        lines.append(preflight_sentence(checked, name, section))
        if checked.better is not None and checked.better.classes:
            lines.append(classes_line(checked.better, section))
    if teacher.others:
        lines.append(together_sentence(teacher, context.dataset))
    return CheckedNetworks(tables, tuple(lines), misfit=any(one.better is not None for one in found))


def describe_networks(context: ExperimentContext) -> list[str]:
    """Size, cost and images of all networks."""
    dataset = context.dataset
    student, own = context.cost(context.baseline), dataset.student_shape
    return [
        *(describe_teacher(one, dataset) for one in context.experiment.teacher.members),
        f"student {context.space.label(context.baseline)}: {units.format_count(student.params)} parameters, "
        f"{units.format_count(student.macs)} multiply-adds for {own.one_input}",
    ]


def describe_teacher(teacher: TeacherSpec, dataset: Dataset) -> str:
    shape = teacher_shape(teacher, dataset)
    cost = count_cost(build_teacher(teacher, dataset), dataset.shape)
    outputs = f", of whose {shape.classes:,} outputs {len(teacher.classes):,} are used" if teacher.classes else ""
    return (
        f"teacher {label_pickled(teacher.model)}: {units.format_count(cost.params)} parameters, "
        f"{units.format_count(cost.macs)} multiply-adds for {shape.one_input}{outputs}"
    )
