"""Opens what a compression chooses: an experiment's context with a size of images, a space and a default student."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from automl_kd import storage
from automl_kd.compression.choices import (
    COMPARED,
    COMPARED_ALONE,
    FIRST_RESOLUTION,
    RESOLUTIONS,
    choose_recipe,
    choose_search,
    choose_space,
    choose_start,
    choose_teacher,
    choose_teacher_training,
    choose_teaching,
    chooses_resolution,
    with_resolution,
)
from automl_kd.compression.request import CompressRequest
from automl_kd.config import Budget
from automl_kd.errors import ConfigError
from automl_kd.experiment.context import ExperimentContext, Roots
from automl_kd.experiment.networks import share_from_teacher
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.progress.events import Watcher
from automl_kd.experiment.stages.device_profile import profile_this_machine
from automl_kd.experiment.student_budget import check_baseline, find_default, require_feasible_budget
from automl_kd.experiment.teacher_settings import settle_teacher
from automl_kd.export import ExportOptions, graphs
from automl_kd.export.subject import student_input_of
from automl_kd.profiling import DeviceProfile, ProfilePlan
from automl_kd.space import sample_architecture
from automl_kd.spec import FRESH, FROM_TEACHER
from automl_kd.training.trial import build_student

NO_LIMITS = {"params": 0, "macs": 0, "latency_ms": 0.0}

OWN_PROFILE = "_profile-"
"""How the file in an experiment's folder begins that describes this machine; the height of images follows."""

LONG_HOURS, QUICK_PROFILE = 1.0, {"networks": 24, "operators": 200, "rounds": 1}
"""With fewer hours the profile of this machine is made of less."""

ROOM, ROOM_DRAWS = 0.05, 60
"""Of so many random students the share that must keep the limits at a larger size of images than the first: a search
makes some hundred attempts for each proposal.
"""


def open_choices(
    request: CompressRequest, given: Mapping[str, Any], roots: Roots, watcher: Watcher
) -> tuple[ExperimentContext, dict[str, Any]]:
    """The context of what is chosen for these images, without limits, and its sections."""
    side = int(given.get("data", request.data).get("resolution", 0))
    space = choose_space(request, side)
    sections: dict[str, Any] = {**given, "space": space}
    pretrained = bool(settle_teacher(request.experiment(sections).teacher).checkpoint)
    sections |= choose_teaching(request, space, pretrained=pretrained)
    sections["search"] = choose_search(space)
    context, teacher = open_with_teacher(request, sections, side, roots, watcher, pretrained=pretrained)
    sections |= teacher
    refuse_other_tasks(context)
    if not request.space and choose_space(request, context.dataset.shape.height) != space:
        named = dataclasses.replace(request, space=choose_space(request, context.dataset.shape.height))
        return open_choices(named, given, roots, watcher)
    sections["recipe"] = choose_recipe(request, len(context.dataset.for_transfer.train))
    if request.budget.latency_ms and not request.budget.profile:
        context, profile = profile_students(context, request, watcher)
        sections |= {"budget": {"profile": profile}} if profile else {}
    return context, sections


def open_with_teacher(
    request: CompressRequest,
    sections: Mapping[str, Any],
    side: int,
    roots: Roots,
    watcher: Watcher,
    *,
    pretrained: bool,
) -> tuple[ExperimentContext, dict[str, Any]]:
    """The context, and the section of the teacher: at the students' size if it takes that, else at its own."""

    def opened(teacher: Mapping[str, Any]) -> ExperimentContext:
        chosen = request.experiment({**sections, **teacher, "budget": NO_LIMITS, "finalists": {}})
        return prepare_experiment(chosen, roots, watcher)

    if not pretrained:
        training = choose_teacher_training(request)
        return opened(training), training
    teacher = choose_teacher(request, side)
    try:
        return opened(teacher), teacher
    except ConfigError:
        if not side or "resolution" in request.teacher or request.sets("teacher.resolution"):
            raise
    context = opened({})
    own = context.experiment.teacher.resolution
    watcher.note(f"the teacher takes no images of {side} pixels, so it sees them at its own size, {own}")
    return context, {}


def refuse_other_tasks(context: ExperimentContext) -> None:
    """`ConfigError` for a task whose students could not be handed on when all is over."""
    if not context.dataset.task.labels_are_classes:
        raise ConfigError(
            f"compress hands on students that name classes, and data.task is {context.dataset.task.name!r}; search "
            "with automl-kd search, read the student by automl_kd.load_student, and export it yourself"
        )


def limit_students(
    opened: ExperimentContext, request: CompressRequest, sections: Mapping[str, Any]
) -> tuple[ExperimentContext, dict[str, Any]]:
    """The context with the limits and a default student that keeps them, and its sections.

    `ConfigError` for limits that no student meets.
    """
    limited = with_limits(opened, dataclasses.replace(request.budget, **sections.get("budget", {})))
    baseline = find_default(limited).as_dict()
    compared = list(COMPARED if opened.space.parameters else COMPARED_ALONE)
    found = {
        **sections,
        "finalists": {"baseline": baseline, "baselines": compared, "readings": ["compute"]},
    }
    finalists = dataclasses.replace(limited.experiment.finalists, baseline=baseline)
    context = dataclasses.replace(limited, experiment=dataclasses.replace(limited.experiment, finalists=finalists))
    found |= choose_start(share_from_teacher(context))
    chosen = request.experiment(found)
    # A file was settled when the context was opened.
    student = chosen.student if chosen.student.init in {FRESH, FROM_TEACHER} else context.experiment.student
    experiment = dataclasses.replace(
        context.experiment, recipe=chosen.recipe, student=student, finalists=chosen.finalists
    )
    context = dataclasses.replace(context, experiment=experiment)
    require_feasible_budget(context)
    check_baseline(context)
    return context, found


def profile_students(
    context: ExperimentContext, request: CompressRequest, watcher: Watcher
) -> tuple[ExperimentContext, str]:
    """The context with a profile of this machine for its students, made unless it is there; and where it is.

    As it was, and nowhere, for students that cannot be profiled: torch times them.
    """
    shape = context.dataset.student_shape
    file = context.folder / f"{OWN_PROFILE}{max(shape.height, shape.width)}.json"
    storage.pull_file(file)
    if not file.exists():
        there = file.parent.exists()
        file.parent.mkdir(parents=True, exist_ok=True)
        size = QUICK_PROFILE if request.hours < LONG_HOURS else {}
        plan = ProfilePlan(space=context.experiment.space, shape=shape, **size)
        try:
            profile_this_machine(file, plan, watcher)
        except ConfigError as error:
            if not there:
                file.parent.rmdir()
            watcher.note(f"latencies are those of torch on this machine, as a profile cannot be made ({error})")
            return context, ""
        storage.push(file)
    found = DeviceProfile.read(file)
    watcher.note(found.describe_for(shape))
    return dataclasses.replace(context, device_profile=found), str(file)


def with_limits(context: ExperimentContext, budget: Budget) -> ExperimentContext:
    return dataclasses.replace(context, experiment=dataclasses.replace(context.experiment, budget=budget))


def first_resolution(request: CompressRequest) -> int:
    """At which images are opened: that of the device's profile, or one at which speed is measured; 0 as they are."""
    if not chooses_resolution(request):
        return 0
    profile = request.budget.profile
    return DeviceProfile.read(Path(profile)).plan.shape.height if profile else FIRST_RESOLUTION


def open_at(
    request: CompressRequest, resolution: int, roots: Roots, watcher: Watcher
) -> tuple[ExperimentContext, ExperimentContext, dict[str, Any]]:
    """The context without limits, that with them, and the sections."""
    sections = with_resolution(request, resolution) if resolution else {}
    opened, sections = open_choices(request, sections, roots, watcher)
    return opened, *limit_students(opened, request, sections)


def choose_resolution(context: ExperimentContext, has_time: Callable[[float], bool]) -> int:
    """The largest for which there is time, and at which the limits leave students to search among; else the smallest.

    `context`: with its limits at `FIRST_RESOLUTION`. `has_time`: whether finals are long enough at so many times its
    area.
    """
    for resolution in reversed(RESOLUTIONS):
        area = (resolution / FIRST_RESOLUTION) ** 2
        if has_time(area) and (area <= 1 or leaves_room(context, area)):
            return resolution
    return RESOLUTIONS[0]


def leaves_room(context: ExperimentContext, area: float) -> bool:
    """Whether enough random students keep the limits where each costs so many times as much."""
    budget = context.experiment.budget
    latency = budget.latency_ms / area if context.device_profile else 0.0  # without one each would be timed
    scaled = dataclasses.replace(budget, macs=int(budget.macs / area), latency_ms=latency)
    slim, rng = with_limits(context, scaled), np.random.default_rng(context.experiment.seed)
    kept = sum(slim.within_budget(sample_architecture(slim.space, rng)) for _ in range(ROOM_DRAWS))
    return kept >= ROOM * ROOM_DRAWS


def try_export(context: ExperimentContext, options: ExportOptions, watcher: Watcher) -> None:
    """`ExportError` if the default student, untrained, takes no form that is asked for."""
    if not (options.onnx or options.pt2):
        return
    watcher.stage("trying to export the default student", 1)
    with torch.random.fork_rng(devices=[]):
        student = build_student(context.space, context.baseline, context.dataset, seed=0).cpu()
        given = student_input_of(context.experiment.data, context.dataset, student)
        program = graphs.trace_program(graphs.make_graph(student, given.shape), given.shape)
    if options.onnx:
        with TemporaryDirectory() as folder:
            graphs.write_onnx(program, Path(folder) / "student.onnx", names=given.names)
