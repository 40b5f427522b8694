"""The experiment that trains a student of an archive in full, by the method of its experiment, without a search."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

from automl_kd.config import Experiment, parse_record
from automl_kd.config.earlier.stored import add_new_fields
from automl_kd.errors import ConfigError
from automl_kd.export.experiment_file import write_experiment
from automl_kd.methods.hyperparameters import own_options
from automl_kd.results.archive.archive import Archive, values_of
from automl_kd.results.archive.folders import ArchiveFolder
from automl_kd.results.archive.students import ScoredStudent, TrainedStudent
from automl_kd.results.store.table import ResultTable
from automl_kd.space import Architecture
from automl_kd.spec import DataSpec, Recipe, TeacherSpec, TrialSpec

TRAINING_PURPOSE = (
    "Trains {student} of {folder} in full, without a search, in a folder of its own: automl-kd search FILE."
)


def write_training(archive: Archive, student: TrainedStudent | ScoredStudent) -> str:
    """The experiment as TOML: with the seeds of the finals of the student's experiment, and their length."""
    folder = archive.folder_of(student.folder)
    experiment = stored_experiment(folder)
    spec = trained_spec(student) if isinstance(student, TrainedStudent) else spec_of_scored(folder, experiment, student)
    values = values_of(archive, student.space, student.architecture_id)
    epochs = math.ceil(folder.full_epochs or spec.recipe.epochs)
    recipe = dataclasses.replace(spec.recipe, epochs=epochs, last_epoch=1.0)
    spec = dataclasses.replace(spec, architecture=Architecture.of(values), recipe=recipe)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{folder.record.get('name', 'student')}"[:80])
    purpose = TRAINING_PURPOSE.format(student=student.architecture_id, folder=student.folder)
    seeds = experiment.finalists.seeds if experiment else (0, 1, 2)
    return write_experiment(spec, f"{name}-{student.architecture_id}", seeds=seeds, purpose=purpose)


def stored_experiment(folder: ArchiveFolder) -> Experiment | None:
    """The experiment that a folder holds, also of an earlier release; None if it holds scores alone."""
    if not folder.record:
        return None
    where = str(folder.path / "experiment.json")
    return parse_record(Experiment, add_new_fields(Experiment, folder.record, where), where)


def trained_spec(student: TrainedStudent) -> TrialSpec:
    """As the student was trained."""
    spec = read_spec(student.folder, "key", student.keys[0])
    if spec is None:
        raise ConfigError(
            f"the row of trial {student.keys[0]} has no spec, so it cannot be trained again from here; start from "
            "'automl-kd init'"
        )
    return spec


def spec_of_scored(folder: ArchiveFolder, experiment: Experiment | None, student: ScoredStudent) -> TrialSpec:
    """As the found student of its experiment is trained, else as its experiment trains, else by plain KD."""
    for role in ("found-method", "search"):
        if (spec := read_spec(folder.path, "role", role)) is not None and spec.space == student.space:
            return spec
    common: dict[str, Any] = {"space": student.space, "architecture": Architecture(()), "seed": 0}
    if experiment is None:
        teacher = TeacherSpec(model=student.teacher) if student.teacher else TeacherSpec()
        return TrialSpec(**common, method="kd", data=DataSpec(name=student.dataset), teacher=teacher, recipe=Recipe())
    return TrialSpec(
        **common,
        method=experiment.method,
        options=own_options(experiment.method, experiment.options),
        data=experiment.data,
        teacher=experiment.teacher,
        recipe=experiment.recipe,
        init=experiment.student.init,
    )


def read_spec(folder: Path, column: str, value: str) -> TrialSpec | None:
    """The spec of the first row that has `value` in `column`; None if there is none."""
    if not (folder / "rows").is_dir():
        return None
    rows = ResultTable(folder).read([column, "spec_json"])
    texts = rows[rows[column] == value]["spec_json"].dropna()
    return TrialSpec.from_json(texts.iloc[0]) if len(texts) else None
