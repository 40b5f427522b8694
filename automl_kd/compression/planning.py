"""Plans a compression: what it takes is chosen, how fast that trains is measured, the hours are divided."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from automl_kd.compression.choices import FIRST_RESOLUTION, chooses_resolution
from automl_kd.compression.kept_plan import KeptPlan
from automl_kd.compression.measured_speed import MeasuredSpeed, measure_speed
from automl_kd.compression.opening import choose_resolution, first_resolution, limit_students, open_at, try_export
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
from automl_kd.config import Experiment
from automl_kd.errors import ConfigError
from automl_kd.experiment.context import ExperimentContext, Roots
from automl_kd.experiment.preflight.preflight import MAX_IMAGES, TIME_LIMIT
from automl_kd.export import ExportOptions
from automl_kd.results import units

EXPORT_FORMS = ExportOptions()

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

MeasureSpeed = Callable[[ExperimentContext, str], MeasuredSpeed]


def make_plan(
    request: CompressRequest,
    kept: KeptPlan,
    roots: Roots,
    keeper: Timekeeper,
    *,
    options: ExportOptions = EXPORT_FORMS,
    address: str = "",
    measure: MeasureSpeed = measure_speed,
) -> Experiment:
    """Fill `kept` with what was chosen, measured and planned, and return the experiment; nothing is trained for good.

    `ConfigError` for limits that no student meets, and for hours in which nothing can be found. `options`: what is
    exported in the end; `ExportError` for students of the user's own that cannot be.
    """
    opened, context, sections = open_at(request, first_resolution(request), roots, keeper)
    if request.space:
        try_export(context, options, keeper)
    speed = measure(context, address)
    if chooses_resolution(request) and not request.budget.profile:
        sized = choose_resolution(context, lambda area: has_time_at(area, speed, request, keeper))
        if sized != FIRST_RESOLUTION:
            opened, context, sections = open_at(request, sized, roots, keeper)
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


def has_time_at(area: float, speed: MeasuredSpeed, request: CompressRequest, keeper: Timekeeper) -> bool:
    """Whether finals have `COMFORT` epochs where images have so many times the area; steps go with it."""
    seconds = request.hours * 3600 - keeper.kept.seconds
    larger = dataclasses.replace(speed, step=speed.step * area, teacher=speed.teacher * area)
    plan = divide_hours(larger, seconds - speed.teacher_training * area, EXPORT_SECONDS + MARGIN * seconds)
    return plan.trials >= FEWEST_TRIALS and plan.finals.epochs >= COMFORT


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
