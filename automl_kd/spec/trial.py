"""The record of a trial, and the key by which it is known."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass, replace
from typing import Any, NamedTuple

from automl_kd import spec_names
from automl_kd.hashing import hash_json
from automl_kd.space import Architecture, Scalar
from automl_kd.spec.checks import require
from automl_kd.spec.data import YOUNGER_DATA_FIELDS, DataSpec, read_data
from automl_kd.spec.preprocessing import YOUNGER_PREPROCESSING_FIELDS
from automl_kd.spec.recipe import YOUNGER_RECIPE_FIELDS, Recipe, read_recipe
from automl_kd.spec.teacher import CHOSEN_BY_USER, YOUNGER_TEACHER_FIELDS, TeacherSpec, read_teacher
from automl_kd.storage.content_hash import by_content

KEY_VERSION = 1
"""Part of every key; raise it when the same spec begins to mean another computation."""


FRESH, FROM_TEACHER = "fresh", "teacher"
"""What a student may begin with, beside a file: drawn weights, or what fits it of its teacher's."""

YOUNGER_TRIAL_FIELDS = ("schedule", "init", "parent")
"""Those that records of earlier releases do not have; they are stored where they are set."""


class Stage(NamedTuple):
    """From the fraction `start` of a run on, in [0, 1), "recipe.FIELD" and "method.OPTION" as in `changes`."""

    start: float
    changes: Mapping[str, Scalar]


Schedule = tuple[Stage, ...]
"""What changes while a trial trains, in order of `start`: fractions, so that it keeps its shape at any length."""


def schedule_text(schedule: Schedule) -> str:
    """A schedule as JSON, [[start, {name: value}], ...], by the names of `spec_names`; empty if nothing changes."""
    stored = [(start, spec_names.stored_changes(changes)) for start, changes in schedule]
    return json.dumps(stored, sort_keys=True) if schedule else ""


def read_schedule(text: str) -> Schedule:
    return tuple(Stage(start, spec_names.current_changes(changes)) for start, changes in json.loads(text or "[]"))


@dataclass(frozen=True)
class Parent:
    """The trial of the same space whose weights a student begins with, by its key, and its student."""

    key: str
    architecture: Architecture


@dataclass(frozen=True, kw_only=True)
class TrialSpec:
    """Everything one trial depends on: equal specs give equal results on equal machines.

    `space`: reference to a `SearchSpace`, "search_spaces.resnet:SPACE", or "model:NAME" for the space whose only point
    is that model. `teacher` is None for methods that have none. `schedule`: what of recipe and options changes while it
    trains; see `automl_kd.methods.schedule`. `init`: what the student's weights are when it begins: "fresh", "teacher",
    or a file with its content hash; see `StudentSection`. `parent`: the student begins with what fits it of this
    trial's, whatever `init` says; so a key knows all ancestors.
    """

    space: str
    architecture: Architecture
    method: str
    options: Mapping[str, Scalar] = field(default_factory=dict)
    data: DataSpec
    teacher: TeacherSpec | None = None
    recipe: Recipe
    seed: int
    schedule: Schedule = ()
    init: str = FRESH
    parent: Parent | None = None

    def __post_init__(self) -> None:
        starts = [stage.start for stage in self.schedule]
        require(
            starts == sorted(set(starts)) and all(0 <= start < 1 for start in starts),
            f"stages of a schedule start at rising fractions of the run in [0, 1), got {starts}",
        )

    @property
    def key(self) -> str:
        """Sixteen hex digits: the name of this trial's checkpoint folder, curve and row.

        Fields that equal their default are left out, so a new field with a default renames no old trial. Where a
        teacher's weights come from a file, its digest counts, not its path or a recipe that was not followed; likewise
        the digest of the data, once it is known, which also says where images are kept, and the content hash of any
        file. Names are those of `spec_names`.
        """
        record = stored_fields(self)
        record.get("data", {}).pop("loading", None)
        if self.data.digest:
            for name in ("name", "unlabelled"):
                record["data"].pop(name, None)
        if self.teacher is not None and self.teacher.checkpoint:
            record["teacher"] = identity_of_file(self.teacher, record["teacher"])
        return hash_json([KEY_VERSION, placeless(record)])

    def to_json(self) -> str:
        """The complete spec; `from_json` reads it back. What is younger is not in it where it is unset."""
        record = spec_names.version_1({**asdict(self), "architecture": self.architecture.as_dict()})
        if self.parent is not None:
            record["parent"] = non_default_fields(self.parent)
        drop_defaults(record, self, YOUNGER_TRIAL_FIELDS)
        drop_defaults(record["data"], self.data, YOUNGER_DATA_FIELDS)
        drop_defaults(record["recipe"], self.recipe, YOUNGER_RECIPE_FIELDS)
        if self.teacher is not None:
            drop_defaults(record["teacher"], self.teacher, YOUNGER_TEACHER_FIELDS)
            own = record["teacher"].get("preprocessing", {})
            drop_defaults(own, self.teacher.preprocessing, YOUNGER_PREPROCESSING_FIELDS if own else ())
            drop_defaults(record["teacher"]["recipe"], self.teacher.recipe, YOUNGER_RECIPE_FIELDS)
            if others := self.teacher.others:
                record["teacher"]["others"] = [{"model": one.model, **non_default_fields(one)} for one in others]
        return json.dumps(record, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> TrialSpec:
        record = spec_names.current(json.loads(text))
        teacher = record["teacher"]
        return TrialSpec(
            **{
                **record,
                "architecture": Architecture.of(record["architecture"]),
                "data": read_data(record["data"]),
                "teacher": teacher and read_teacher(teacher),
                "recipe": read_recipe(record["recipe"]),
                "schedule": tuple(Stage(*stage) for stage in record.get("schedule", ())),
                "parent": read_parent(record.get("parent")),
            }
        )


def read_parent(record: Mapping[str, Any] | None) -> Parent | None:
    return Parent(record["key"], Architecture.of(record["architecture"])) if record else None


def identity_of_file(teacher: TeacherSpec, stored: Mapping[str, Any]) -> dict[str, Any]:
    """What of a teacher from a file is part of a key, given what of it differs from its default."""
    chosen = {name: stored[name] for name in CHOSEN_BY_USER if name in stored}
    if teacher.others:
        others = zip(teacher.others, stored["others"], strict=True)
        chosen["others"] = [placeless(identity_of_file(*one)) for one in others]
    return {"model": teacher.model, "digest": teacher.digest, **chosen}


def drop_defaults(stored: dict[str, Any], record: Any, names: Collection[str]) -> None:
    """Take those of `names` out of `stored` that have their default in `record`."""
    for item in fields(record):
        if item.name in names and getattr(record, item.name) == default_of(item):
            del stored[item.name]


def stored_fields(spec: TrialSpec) -> dict[str, Any]:
    """What of a spec is hashed: what differs from its default, by the names that are stored."""
    return spec_names.version_1(non_default_fields(spec))


def non_default_fields(record: Any) -> Any:
    """A dataclass as nested plain values, without the fields that equal their default."""
    if isinstance(record, Architecture):
        return record.as_dict()
    if isinstance(record, tuple) and record and all(map(is_dataclass, record)):
        return [non_default_fields(one) for one in record]
    if not is_dataclass(record) or isinstance(record, type):
        return dict(record) if isinstance(record, Mapping) else record
    return {
        item.name: non_default_fields(getattr(record, item.name))
        for item in fields(record)
        if getattr(record, item.name) != default_of(item)
    }


def placeless(record: Any) -> Any:
    """Nested plain values in which files are named by content hash alone, without paths."""
    if isinstance(record, Mapping):
        return {name: placeless(value) for name, value in record.items()}
    return by_content(record) if isinstance(record, str) else record


def default_of(item: Any) -> Any:
    return item.default_factory() if item.default_factory is not MISSING else item.default


def teacher_trial(teacher: TeacherSpec, data: DataSpec) -> TrialSpec:
    """The trial that trains this teacher: the method `scratch` on the one-point space of its model."""
    return TrialSpec(
        space=f"model:{teacher.model}",
        architecture=Architecture(()),
        method="scratch",
        data=replace(data, labelled_images=0) if teacher.all_labels else data,
        recipe=teacher.recipe,
        seed=teacher.seed,
    )
