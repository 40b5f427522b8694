"""The first stage: a teacher from a file is checked under other kinds of preprocessing before anything is spent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from automl_kd import files, storage
from automl_kd.errors import ConfigError
from automl_kd.experiment.context import ExperimentContext
from automl_kd.experiment.preflight.preflight import as_record, preflight_sentence, run_preflight

PREFLIGHT_FILE = "preflight.json"
"""In an experiment's folder."""


def check_teacher_input(context: ExperimentContext, *, accept: bool = False) -> dict[str, Any]:
    """Note what was found and return it, for `keep_preflight`; empty if there is nothing to check, or it was checked.

    `ConfigError` if the teacher does better under another preprocessing, unless `accept`.
    """
    teacher = context.experiment.teacher
    if not teacher.checkpoint or earlier_preflight(context.folder).get("teacher") == context.teacher_training.key:
        return {}
    found = run_preflight(teacher, context.dataset, context.watcher)
    sentence = preflight_sentence(found)
    if found.better is not None and not accept:
        raise ConfigError(f"{sentence}; to go on with it as it is, give --accept-teacher (accept_teacher=True)")
    context.watcher.note(sentence)
    return {"teacher": context.teacher_training.key, "sentence": sentence, **as_record(found)}


def earlier_preflight(folder: Path) -> dict[str, Any]:
    """What an earlier session found."""
    storage.pull_file(folder / PREFLIGHT_FILE)
    try:
        found = files.read_json(folder / PREFLIGHT_FILE)
    except OSError:
        return {}
    return found if isinstance(found, dict) else {}


def keep_preflight(folder: Path, found: dict[str, Any]) -> None:
    if found:
        storage.write(folder / PREFLIGHT_FILE, json.dumps(found, indent=1))
