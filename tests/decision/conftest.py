"""A finished search of real trials, without Ray: tiny networks beside a trained teacher, most with two seeds."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from automl_kd.data import digest_dataset
from automl_kd.methods import run_trial
from automl_kd.results import ResultTable, Row
from automl_kd.spec import TrialPaths, TrialSpec, teacher_trial
from tests import tiny
from tests.results.synthetic import NOON, row

ROLES = {"default-kd": ("kd", 4, 2), "found-scratch": ("scratch", 8, 1), "found-method": ("kd", 8, 2)}
"""The method, the width and how many seeds of each."""

MEASURED = {field.name for field in dataclasses.fields(Row)} - {"precision"}
"""A trial reports its precision as a number."""


def run_and_record(results: Path, spec: TrialSpec, **changes: Any) -> Row:
    """Train, and return the row of what was measured."""
    folder = results / "teachers" if changes["trial_kind"] == "teacher" else results / "mine" / "trials"
    place = TrialPaths(trial=folder / spec.key, teachers=results / "teachers", data=results / "data")
    recorder = tiny.Recorder()
    run_trial(spec, recorder, place)
    measured = {name: value for name, value in recorder.seen[max(recorder.seen)].items() if name in MEASURED}
    known: dict[str, Any] = {
        "key": spec.key,
        "space": spec.space,
        "architecture_id": spec.architecture.key,
        "values_json": json.dumps(spec.architecture.as_dict()),
        "student": f"width {spec.architecture.as_dict().get('width', 16)}",
        "method": spec.method,
        "options_json": json.dumps(dict(spec.options)),
        "dataset": "stripes",
        "teacher": "tiny teacher",
        "seed": spec.seed,
        "epochs": spec.recipe.epochs,
        "epochs_done": spec.recipe.epochs,
        "latency_threads": 1,
        "proposal": None,
        "spec_json": spec.to_json(),
        "experiment": "mine",
        "started": NOON,
    }
    return row(**{**known, **measured, **changes})


def write_search(results: Path) -> Path:
    """The folder of the experiment."""
    data = dataclasses.replace(tiny.DATA, digest=digest_dataset(tiny.loaded(results)))
    teacher = teacher_trial(tiny.TEACHER, data)
    table = ResultTable(results / "mine")
    table.append(run_and_record(results, teacher, trial_kind="teacher", role="teacher", student="tiny teacher"))
    for role, (method, width, seeds) in ROLES.items():
        for seed in range(seeds):
            spec = tiny.spec(method=method, width=width, seed=seed, data=data)
            spec = dataclasses.replace(spec, teacher=tiny.TEACHER if method == "kd" else None)
            table.append(run_and_record(results, spec, trial_kind="final", role=role))
    for number, width in enumerate((3, 5, 8)):
        changes: dict[str, Any] = {"status": "stopped", "test_accuracy": None} if width == 5 else {}
        place = {"key": f"search{number}", "proposal": number, "params": 10 * width + 13, "macs": 1000 * width}
        table.append(row(experiment="mine", val_accuracy=0.4 + width / 40, **place, **changes))
    record = {
        "name": "mine",
        "space": "tests.tiny:SPACE",
        "budget": {"params": 120, "macs": 0, "latency_ms": 0.0},
        "search": {"trials": 3},
    }
    (results / "mine" / "experiment.json").write_text(json.dumps(record))
    return results / "mine"


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """The experiment's folder, to be read only."""
    return write_search(tmp_path_factory.mktemp("results"))
