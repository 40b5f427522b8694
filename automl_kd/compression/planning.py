"""Plans a compression: what it takes is chosen, how fast that trains is measured, the hours are divided."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from automl_kd import storage
from automl_kd.compression.choices import (
    COMPARED,
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
from automl_kd.compression.kept_plan import KeptPlan
from automl_kd.compression.measured_speed import MeasuredSpeed, measure_speed
from automl_kd.compression.plan import (
    FEWEST_TRIALS,
    LEAST_EPOCHS,
    CompressPlan,
    divide_hours,
    scaled_speed,
    search_cost,
)
from automl_kd.compression.request import CompressRequest
from automl_kd.compression.searched_students import searched_students
from automl_kd.compression.timekeeper import Timekeeper
from automl_kd.config import Budget, Experiment
from automl_kd.errors import ConfigError
from automl_kd.experiment.context import ExperimentContext, Roots
from automl_kd.experiment.networks import share_from_teacher
from automl_kd.experiment.preflight.preflight import MAX_IMAGES, TIME_LIMIT
from automl_kd.experiment.preparation import prepare_experiment
from automl_kd.experiment.progress.events import Watcher
from automl_kd.experiment.stages.device_profile import profile_this_machine
from automl_kd.experiment.student_budget import check_baseline, limits_of, require_feasible_budget
from automl_kd.experiment.teacher_settings import settle_teacher
from automl_kd.models.costs.affordable import find_affordable
from automl_kd.profiling import DeviceProfile, ProfilePlan
from automl_kd.results import units
from automl_kd.space import Architecture
from automl_kd.spec import FRESH, FROM_TEACHER

EXPORT_SECONDS = 60.0
"""Kept for writing graphs and trying them, beside the passes over test images that the page needs."""

MARGIN = 0.06
"""Of all hours, kept for what takes longer than was measured."""

OPENING_SECONDS = 15.0
"""For opening the session and the first worker's start, before trials."""

CHECKED_KINDS = 10
"""Of preprocessing under which a teacher from a file is checked."""

SMALLEST_POWER = 12
"""Smaller students than the default are considered, each of 0.8 of the last one's cost, below this power."""

COMFORT = 2 * LEAST_EPOCHS
"""Epochs of finals that a larger resolution must leave time for."""

MOST_HOURS = 10_000.0

NO_LIMITS = {"params": 0, "macs": 0, "latency_ms": 0.0}

OWN_PROFILE = "_profile-"
"""How the file in an experiment's folder begins that describes this machine; the height of images follows."""

LONG_HOURS, QUICK_PROFILE = 1.0, {"networks": 24, "operators": 200, "rounds": 1}
"""With fewer hours the profile of this machine is made of less."""

MeasureSpeed = Callable[[ExperimentContext, str], MeasuredSpeed]


def make_plan(
    request: CompressRequest,
    kept: KeptPlan,
    roots: Roots,
    keeper: Timekeeper,
    *,
    address: str = "",
    measure: MeasureSpeed = measure_speed,
) -> Experiment:
    """Fill `kept` with what was chosen, measured and planned, and return the experiment; nothing is trained for good.

    `ConfigError` for limits that no student meets, and for hours in which nothing can be found.
    """
    sections = with_resolution(request, FIRST_RESOLUTION) if chooses_resolution(request) else {}
    opened, sections = open_choices(request, sections, roots, keeper)
    context, sections = limit_students(opened, request, sections)
    speed = measure(context, address)
    if chooses_resolution(request):
        sized = choose_resolution(speed, request.hours * 3600 - keeper.kept.seconds)
        if sized != FIRST_RESOLUTION:
            opened, sections = open_choices(request, with_resolution(request, sized), roots, keeper)
            context, sections = limit_students(opened, request, sections)
            speed = measure(context, address)
    speed = dataclasses.replace(speed, size=searched_students(context).size)
    plan = divide_time(request, speed, keeper)
    if not request.epochs and plan.finals.epochs < LEAST_EPOCHS:
        context, sections, speed = take_smaller(opened, context, request, sections, speed, keeper)
    plan = divide_time(request, speed, keeper)
    require_enough(plan, speed, request, context)
    sections |= planned_sections(plan, sections)
    experiment = request.experiment(sections)
    trials, epochs = experiment.search.trials, experiment.recipe.epochs  # which overrides may have changed
    searched = search_cost(speed, trials, epochs)
    kept.plan = dataclasses.replace(plan, trials=trials, epochs=epochs, search_seconds=searched)
    kept.sections, kept.speed = dict(sections), speed
    return experiment


def open_choices(
    request: CompressRequest, given: Mapping[str, Any], roots: Roots, watcher: Watcher
) -> tuple[ExperimentContext, dict[str, Any]]:
    """The context of what is chosen for these images, without limits, and its sections."""
    side = int(given.get("data", request.data).get("resolution", 0))
    space = choose_space(request, side)
    sections: dict[str, Any] = {**given, "space": space}
    pretrained = bool(settle_teacher(request.experiment(sections).teacher).checkpoint)
    teacher = choose_teacher(request, side) if pretrained else choose_teacher_training(request)
    sections |= choose_teaching(space, pretrained=pretrained) | teacher
    sections["search"] = choose_search(space)
    opened = request.experiment({**sections, "budget": NO_LIMITS, "finalists": {}})
    context = prepare_experiment(opened, roots, watcher)
    refuse_other_tasks(context)
    if not request.space and choose_space(request, context.dataset.shape.height) != space:
        named = dataclasses.replace(request, space=choose_space(request, context.dataset.shape.height))
        return open_choices(named, given, roots, watcher)
    sections["recipe"] = choose_recipe(request, len(context.dataset.for_transfer.train))
    if request.budget.latency_ms and not request.budget.profile:
        context, profile = profile_students(context, request, watcher)
        sections["budget"] = {"profile": profile}
    return context, sections


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
    found = {
        **sections,
        "finalists": {"baseline": baseline, "baselines": list(COMPARED), "readings": ["compute"]},
    }
    finalists = dataclasses.replace(limited.experiment.finalists, baseline=baseline)
    context = dataclasses.replace(limited, experiment=dataclasses.replace(limited.experiment, finalists=finalists))
    found |= choose_start(share_from_teacher(context))
    chosen = request.experiment(found)
    # A file was settled when the context was opened.
    student = chosen.student if chosen.student.init in {FRESH, FROM_TEACHER} else context.experiment.student
    experiment = dataclasses.replace(context.experiment, recipe=chosen.recipe, student=student)
    context = dataclasses.replace(context, experiment=experiment)
    require_feasible_budget(context)
    check_baseline(context)
    return context, found


def profile_students(
    context: ExperimentContext, request: CompressRequest, watcher: Watcher
) -> tuple[ExperimentContext, str]:
    """The context with a profile of this machine for its students, made unless it is there; and where it is."""
    shape = context.dataset.student_shape
    file = context.folder / f"{OWN_PROFILE}{max(shape.height, shape.width)}.json"
    storage.pull_file(file)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        size = QUICK_PROFILE if request.hours < LONG_HOURS else {}
        plan = ProfilePlan(space=context.experiment.space, shape=shape, **size)
        profile_this_machine(file, plan, watcher)
        storage.push(file)
    found = DeviceProfile.read(file)
    watcher.note(found.describe_for(shape))
    return dataclasses.replace(context, device_profile=found), str(file)


def with_limits(context: ExperimentContext, budget: Budget) -> ExperimentContext:
    return dataclasses.replace(context, experiment=dataclasses.replace(context.experiment, budget=budget))


def find_default(context: ExperimentContext) -> Architecture:
    """The student that one would take for these limits without a search."""
    limits = limits_of(context.experiment.budget)

    def excess(architecture: Architecture) -> float:
        cost = context.cost(architecture)
        counted = max((getattr(cost, name) / limits[name] for name in ("params", "macs") if name in limits), default=0)
        if counted > 1 or "latency_ms" not in limits:
            return counted
        return max(counted, context.latency_ms(architecture) / limits["latency_ms"])

    return find_affordable(context.space, excess)


def divide_time(request: CompressRequest, speed: MeasuredSpeed, keeper: Timekeeper) -> CompressPlan:
    """The plan for the hours that are left."""
    after = EXPORT_SECONDS + speed.test * (speed.teacher + speed.check / max(1, speed.validation))
    reserve = after + MARGIN * request.hours * 3600
    kept = {"epochs": request.epochs, "seeds": request.seeds}
    before = seconds_before(speed)
    plan = divide_hours(speed, keeper.left - speed.teacher_training - before, reserve, **kept)
    return dataclasses.replace(plan, before=before, after=after)


def seconds_before(speed: MeasuredSpeed) -> float:
    """Until the first trial begins; a teacher that is trained first is tested as part of that."""
    if speed.teacher_training:
        return OPENING_SECONDS
    checked = min(TIME_LIMIT, CHECKED_KINDS * min(MAX_IMAGES, speed.validation) * speed.teacher)
    return OPENING_SECONDS + checked + (speed.validation + speed.test) * speed.teacher


def choose_resolution(speed: MeasuredSpeed, seconds: float) -> int:
    """The largest at which finals have time for `COMFORT` epochs, the smallest if none has; steps go with the area."""
    for resolution in reversed(RESOLUTIONS):
        area = (resolution / FIRST_RESOLUTION) ** 2
        larger = dataclasses.replace(speed, step=speed.step * area, teacher=speed.teacher * area)
        plan = divide_hours(larger, seconds - speed.teacher_training, EXPORT_SECONDS + MARGIN * seconds)
        if plan.trials >= FEWEST_TRIALS and plan.finals.epochs >= COMFORT:
            return resolution
    return RESOLUTIONS[0]


def take_smaller(
    opened: ExperimentContext,
    context: ExperimentContext,
    request: CompressRequest,
    sections: Mapping[str, Any],
    speed: MeasuredSpeed,
    keeper: Timekeeper,
) -> tuple[ExperimentContext, dict[str, Any], MeasuredSpeed]:
    """A limit of multiply-adds at which finals have `LEAST_EPOCHS`, by speed in proportion to the measured student's.

    Everything as it was where the space has none that small, or where it would be of no use.
    """
    macs = context.cost(context.baseline).macs
    for power in range(1, SMALLEST_POWER):
        factor = 0.8**power
        slim = scaled_speed(dataclasses.replace(speed, size=min(speed.size, 1.0)), factor)
        if divide_time(request, slim, keeper).finals.epochs >= LEAST_EPOCHS:
            break
    else:
        return context, dict(sections), speed
    limited = {**sections, "budget": {**sections.get("budget", {}), "macs": round_limit(macs * factor)}}
    try:
        smaller, found = limit_students(opened, request, limited)
    except ConfigError:  # the space has none that small, or none that keeps the other limits
        return context, dict(sections), speed
    ratio = smaller.cost(smaller.baseline).macs / macs
    return smaller, found, dataclasses.replace(scaled_speed(speed, ratio), size=searched_students(smaller).size)


def round_limit(macs: float) -> int:
    """To two digits."""
    return int(float(f"{macs:.1e}"))


def require_enough(
    plan: CompressPlan, speed: MeasuredSpeed, request: CompressRequest, context: ExperimentContext
) -> None:
    """Refuse hours in which no search and no comparison fits, with those that would do."""
    if plan.trials >= FEWEST_TRIALS and plan.finals.epochs >= 1:
        return
    hours = request.hours
    while hours < MOST_HOURS:
        hours *= 1.25
        asked = {"epochs": request.epochs, "seeds": request.seeds}
        tried = divide_hours(speed, hours * 3600 - speed.teacher_training - plan.before, plan.reserve, **asked)
        if tried.trials >= FEWEST_TRIALS and tried.finals.epochs >= 1:
            break
    epoch = units.duration(speed.epoch)
    raise ConfigError(
        f"--budget-hours {request.hours:g} leaves no time for {FEWEST_TRIALS} trials and a comparison, as an epoch of "
        f"the default student {context.space.label(context.baseline)} takes {epoch}; give {hours:.2g} hours or more, "
        "a smaller --resolution, or fewer images (--set data.train_images=...)"
    )


def planned_sections(plan: CompressPlan, sections: Mapping[str, Any]) -> dict[str, Any]:
    """`sections` with the numbers of the plan."""
    finals = plan.finals
    return {
        "recipe": {**sections["recipe"], "epochs": plan.epochs},
        "search": {**sections["search"], "trials": plan.trials},
        "finalists": {
            **sections["finalists"],
            "seeds": list(range(finals.seeds)),
            "count": finals.count,
            "epochs": finals.epochs,
        },
    }
