"""The first stage: a teacher from a file is checked under other kinds of preprocessing before anything is spent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from automl_kd import files, storage
from automl_kd.errors import ConfigError
from automl_kd.experiment.context import ExperimentContext
from automl_kd.experiment.preflight.preflight import as_record, name_member, preflight_sentence, run_preflight
from automl_kd.experiment.preflight.together import together_sentence
from automl_kd.spec import teacher_sections

PREFLIGHT_FILE = "preflight.json"
"""In an experiment's folder."""


def check_teacher_input(context: ExperimentContext, *, accept: bool = False) -> dict[str, Any]:
    """Note what was found and return it, for `keep_preflight`; empty if there is nothing to check, or it was checked.

    A task without classes has no such check: its teacher's metric is measured before the search all the same.
    Several teachers are checked one by one, then together. `ConfigError` if one does better under another
    preprocessing, unless `accept`.
    """
    teacher = context.experiment.teacher
    if not (teacher.checkpoint and context.dataset.task.labels_are_classes):
        return {}
    if earlier_preflight(context.folder).get("teacher") == context.teacher_training.key:
        return {}
    found = []
    for section, one in zip(teacher_sections(teacher), teacher.members, strict=True):
        checked = run_preflight(one, context.dataset, context.watcher)
        sentence = preflight_sentence(checked, name_member(teacher, one, section), section)
        if checked.better is not None and not accept:
            raise ConfigError(f"{sentence}; to go on with it as it is, give --accept-teacher (accept_teacher=True)")
        context.watcher.note(sentence)
        found.append({"sentence": sentence, **as_record(checked)})
    if not teacher.others:
        return {"teacher": context.teacher_training.key, **found[0]}
    together = together_sentence(teacher, context.dataset)
    context.watcher.note(together)
    return {"teacher": context.teacher_training.key, "sentence": together, "teachers": found}


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
