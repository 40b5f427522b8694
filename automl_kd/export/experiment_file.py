"""experiment.toml: trains a student again, as a comparison of methods with its own method alone, without a search."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from operator import attrgetter

from automl_kd.config import SEEDS, ComparisonSection, Experiment, Finalists, MethodEntry, write_commented
from automl_kd.methods import make_method, makes_students
from automl_kd.methods.schedule import first_changes, turned
from automl_kd.registry import PICKLED
from automl_kd.spec import TeacherSpec, TrialSpec

FILLED_IN = {"data.digest", "data.view", "teacher.digest"}
"""Fields that opening an experiment fills in."""

PURPOSE = "Trains the exported student again, without the search: automl-kd search experiment.toml."

FROM_OBJECTS = (
    "It was made by a Python program from objects that no file can name. Put their code into a module and name them as "
    "module:attribute where this file has pickled:."
)

SCHEDULED = (
    "A population changed its settings while it trained; no file can say that, so this trains with the first ones."
)


INHERITED = (
    "Its student began with the weights of another one of its search; here it begins as [student] or its entry says."
)


def experiment_of(given: TrialSpec, name: str) -> Experiment:
    """The experiment whose only final trial is `given`, but for a seed of a search and for changes by a population."""
    spec = turned(given, first_changes(given.schedule))
    teacher = spec.teacher or TeacherSpec()
    own = makes_students(make_method(spec.method, spec.options))  # on which init has no effect
    method = re.sub(r"[^a-z0-9-]+", "-", spec.method.lower()).strip("-")[:50] or "method"
    return Experiment(
        name=name,
        space=spec.space,
        method=spec.method,
        data=spec.data,
        teacher=dataclasses.replace(teacher, learned_shares=teacher.learned_shares and not teacher.shares),
        recipe=spec.recipe,
        finalists=Finalists(seeds=(spec.seed % SEEDS,), baseline=spec.architecture.as_dict(), readings=("compute",)),
        comparison=ComparisonSection(
            reference=method,
            methods=(
                MethodEntry(name=method, method=spec.method, options=spec.options, init="" if own else spec.init),
            ),
        ),
    )


def write_experiment(spec: TrialSpec, name: str, *, seeds: Sequence[int] = (), purpose: str = PURPOSE) -> str:
    """TOML, of the fields that differ from their defaults. `seeds`: in place of the spec's. `purpose`: its comment."""
    experiment = experiment_of(spec, name)
    if seeds:
        finalists = dataclasses.replace(experiment.finalists, seeds=tuple(seeds))
        experiment = dataclasses.replace(experiment, finalists=finalists)
    objects = any(PICKLED in text for text in (spec.space, spec.teacher.model if spec.teacher else ""))
    head = " ".join([purpose, *([FROM_OBJECTS] if objects else []), *unsaid(spec)])
    return write_differing(experiment, head)


def unsaid(spec: TrialSpec) -> list[str]:
    """What of a spec no experiment can say."""
    changing = any(stage.start > 0 for stage in spec.schedule)
    return [*([SCHEDULED] if changing else []), *([INHERITED] if spec.parent else [])]


def write_differing(experiment: Experiment, head: str) -> str:
    """TOML of an experiment with the fields that differ from their defaults. `head`: its first comment."""
    plain = Experiment(name=experiment.name, space=experiment.space)

    def wanted(key: str) -> bool:
        read = attrgetter(key)
        return key in {"name", "space"} or (key not in FILLED_IN and bool(read(experiment) != read(plain)))

    return write_commented(experiment, wanted, head)
