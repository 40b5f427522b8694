"""Points of a joint search over students and hyperparameters, and the proposals that they stand for."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from automl_kd.config import Experiment
from automl_kd.errors import ConfigError
from automl_kd.methods import inherits, make_method, makes_students
from automl_kd.methods.base import Method
from automl_kd.methods.data_fit import require_data
from automl_kd.methods.hyperparameters import ends, methods_of, own_options, parameters_of, settings, teaching
from automl_kd.methods.perturbed import changes_of, ranges_of
from automl_kd.methods.recipe_fit import require_recipe
from automl_kd.methods.schedule import INIT, RECIPE, first_changes
from automl_kd.space import Architecture, InputShape, Parameter, Scalar, SearchSpace, Values, is_active
from automl_kd.spec import FRESH, Recipe, Schedule, Stage, schedule_text

Key = tuple[str, str, str, str]
"""The identity of a proposal: the columns architecture_id, method, options_json and schedule_json of its rows."""


@dataclass(frozen=True)
class Proposal:
    """A student, its method and its options: what one trial of a search tries.

    `options`: of the method, those set. `schedule`: what changes on the way. `init`: what the student begins with,
    whatever the experiment says of others; empty leaves that to the experiment.
    """

    architecture: Architecture
    method: str
    options: Mapping[str, Scalar] = dataclasses.field(default_factory=dict)
    schedule: Schedule = ()
    init: str = ""

    @property
    def key(self) -> Key:
        options = json.dumps(dict(self.options), sort_keys=True)
        return self.architecture.key, self.method, options, schedule_text(self.schedule)

    @property
    def first_changes(self) -> Mapping[str, Scalar]:
        """What it is trained with from the start on, other than the experiment says."""
        return first_changes(self.schedule)

    @property
    def made(self) -> Method:
        return make_method(self.method, self.options)


def init_of(experiment: Experiment, method: Method) -> str:
    """What students of this method begin with: training from scratch begins fresh, and a method may make its own."""
    return experiment.student.init if method.needs_teacher and not makes_students(method) else FRESH


def init_for(experiment: Experiment, proposal: Proposal) -> str:
    return proposal.init or init_of(experiment, proposal.made)


def begins_warm(experiment: Experiment) -> bool:
    """Whether students may begin with weights: by [student], or as a method makes them."""
    methods = methods_of(experiment.hyperparameters, experiment.method)
    return (
        INIT in experiment.hyperparameters
        or experiment.student.init != FRESH
        or any(inherits(make_method(name, own_options(name, experiment.options))) for name in methods)
    )


def from_fresh_weights(experiment: Experiment, proposal: Proposal) -> Proposal | None:
    """The same with a student that begins fresh; None where it does so anyway."""
    if inherits(proposal.made):
        return dataclasses.replace(proposal, options={**proposal.options, "inherit": False}, init=FRESH)
    if begins_with(experiment, proposal) == FRESH:
        return None
    changes = {name: value for name, value in proposal.first_changes.items() if name != INIT}
    others = tuple(stage for stage in proposal.schedule if stage.start > 0)
    return dataclasses.replace(proposal, init=FRESH, schedule=(*([Stage(0.0, changes)] if changes else []), *others))


def by_labels_alone(experiment: Experiment, proposal: Proposal) -> Proposal | None:
    """The same student from the same weights, taught by labels alone: what is left without the teacher's answers.

    None where it begins fresh, or its method makes the student.
    """
    begun = begins_with(experiment, proposal)
    if begun == FRESH or not proposal.made.needs_teacher:
        return None
    return dataclasses.replace(without_teacher(proposal), init=begun)


def without_teacher(proposal: Proposal) -> Proposal:
    """The same student without a teacher, from fresh weights, by the recipe that was found."""
    kept = (
        Stage(stage.start, {name: value for name, value in stage.changes.items() if name.startswith(RECIPE)})
        for stage in proposal.schedule
    )
    return Proposal(proposal.architecture, "scratch", schedule=tuple(one for one in kept if one.changes))


def begins_with(experiment: Experiment, proposal: Proposal) -> str:
    """What the student of a proposal begins with, by its own word before that of the experiment."""
    return str(proposal.first_changes.get(INIT, init_for(experiment, proposal)))


def plain_kd(experiment: Experiment, student: Architecture) -> Proposal:
    """The baseline's method: plain KD, with the experiment's options if KD is its method, else with defaults."""
    kept = "kd" in methods_of(experiment.hyperparameters, experiment.method)
    return Proposal(student, "kd", own_options("kd", experiment.options) if kept else {})


def combine(space: SearchSpace, experiment: Experiment) -> SearchSpace:
    """Return the searched space: the parameters of the students' space, then those of `hyperparameters`.

    Without any it is `space` itself. Of a population it is what its members begin with.
    """
    hyperparameters = parameters_of(
        experiment.hyperparameters, methods_of(experiment.hyperparameters, experiment.method)
    )
    hyperparameters |= {name: Parameter(domain) for name, domain in ranges_of(experiment.search.perturb).items()}
    if not hyperparameters:
        return space
    if taken := sorted(space.parameters.keys() & hyperparameters.keys()):
        raise ConfigError(
            f"space {space.name!r} has a parameter {taken[0]!r} of its own; rename it, or drop [hyperparameters]"
        )

    def build(values: Values, shape: InputShape) -> nn.Module:
        return space.build(student_values(space, values), shape)

    default = dict(space.default)
    for name, parameter in hyperparameters.items():
        if is_active(parameter, default):
            default[name] = ends(parameter.domain)[0]
    return SearchSpace(
        name=f"{space.name} and {'[hyperparameters]' if experiment.hyperparameters else '[search.perturb]'}",
        source=space.source,
        parameters={**space.parameters, **hyperparameters},
        build=build,
        default=default,
    )


def split(point: Architecture, space: SearchSpace, experiment: Experiment) -> Proposal:
    """The proposal that a point of `combine(space, experiment)` stands for.

    `ConfigError` if its method refuses its options or recipe, each allowed by itself, together.
    """
    values = point.as_dict()
    student = student_values(space, values)
    hyperparameters = {name: value for name, value in values.items() if name not in student}
    if experiment.search.perturb:
        start = Stage(
            0.0,
            changes_of({name: float(value) for name, value in hyperparameters.items()}, *default_teaching(experiment)),
        )
        return Proposal(Architecture.of(student), *default_teaching(experiment), schedule=(start,))
    found = Proposal(Architecture.of(student), *teaching(hyperparameters, *default_teaching(experiment)))
    if not (changes := settings(hyperparameters)):
        return found
    require_setting(experiment, found, changes)
    return dataclasses.replace(found, schedule=(Stage(0.0, changes),))


def require_setting(experiment: Experiment, proposal: Proposal, changes: Mapping[str, Scalar]) -> Recipe:
    """The recipe with `changes`; `ConfigError` for one that is none, or that the method cannot follow."""
    recipe: Any = {name.removeprefix(RECIPE): value for name, value in changes.items() if name != INIT}
    try:
        held = dataclasses.replace(experiment.recipe, **recipe)
    except ValueError as error:
        raise ConfigError(f"recipe: {error}") from error
    require_recipe(held, proposal.made, proposal.method)
    require_data(experiment.data, held, proposal.made, proposal.method)
    return held


def default_teaching(experiment: Experiment) -> tuple[str, Mapping[str, Scalar]]:
    return experiment.method, experiment.options


def student_values(space: SearchSpace, values: Values) -> dict[str, Scalar]:
    """The values of the student's own parameters."""
    return {name: value for name, value in values.items() if name in space.parameters}
