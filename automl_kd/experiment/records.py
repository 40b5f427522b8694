"""Converts outcomes of trials to rows of results, and rows to outcomes."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from automl_kd import storage
from automl_kd.cluster.tune_searcher import Curve, Failure, Metrics
from automl_kd.errors import ConfigError
from automl_kd.experiment.context import ExperimentContext
from automl_kd.methods import METHODS, inherits, make_method
from automl_kd.methods.model_card import SUBGRAPH_FILE, student_label
from automl_kd.methods.schedule import INIT, first_changes
from automl_kd.models.teacher_mean import teacher_label
from automl_kd.results.store.config_hash import hash_config
from automl_kd.results.store.folder import data_name
from automl_kd.results.store.row import PRECISIONS, Point, Precision, Role, Row, TrialKind
from automl_kd.samplers.population import Lineage
from automl_kd.spec import BEGAN_FRESH, FRESH, FROM_TEACHER, SETTLED, Outcome, TrialSpec, schedule_text
from automl_kd.storage.content_hash import located_path

MEASURED_COLUMNS = [
    item.name
    for item in fields(Row)
    if item.type == "float | None" and item.name not in {"compute_fraction", "last_epoch", "ancestor_macs"}
]
COUNTED = [
    item.name for item in fields(Row) if item.type == "int | None" and item.name not in {"proposal", "epochs_done"}
]
"""Columns that a trial's metrics fill: floats and integers."""


def row_of(
    context: ExperimentContext,
    spec: TrialSpec,
    outcome: Outcome,
    *,
    trial_kind: TrialKind,
    role: Role,
    proposal: int | None = None,
    compute_fraction: float | None = None,
    readings_json: str | None = None,
    lineage: Lineage = (),
    ancestor_macs: float = 0.0,
    started: datetime,
    device: str,
) -> Row:
    folder = context.trial_paths(spec, device).trial
    storage.pull(folder)  # files of a worker on another machine
    # Images that were moved keep their first name here: an entry of a leaderboard is one trial's settings.
    known = replace(spec, data=replace(spec.data, name=data_name(context.folder, spec.data.name)))
    return Row(
        trial_kind=trial_kind,
        key=spec.key,
        role=role,
        proposal=proposal,
        **outcome_columns(outcome),
        space=spec.space,
        architecture_id=spec.architecture.key,
        values_json=json.dumps(spec.architecture.as_dict()),
        student=student_label(spec, folder),
        **teaching_columns(spec, began_fresh=BEGAN_FRESH in outcome.metrics),
        lineage_json=json.dumps(lineage) if lineage else None,
        ancestor_macs=ancestor_macs if spec.parent and BEGAN_FRESH not in outcome.metrics else None,
        stand_in=context.experiment.stand_in.images > 0,
        dataset=known.data.name,
        metric=context.dataset.task.metric,
        teacher=teacher_label(spec.teacher) if spec.teacher else None,
        compute_fraction=compute_fraction,
        readings_json=readings_json,
        **report_columns(outcome.metrics) | latency_columns(context, spec, outcome, folder),
        **(validation_of(context) if trial_kind == "teacher" else {}),
        device=device_name(device),
        precision=precision(outcome.metrics),
        started=started,
        git_commit=git_commit(),
        versions_json=versions(),
        spec_json=spec.to_json(),
        config_hash=hash_config(known.to_json()),
        experiment=context.experiment.name,
    )


def outcome_columns(outcome: Outcome) -> dict[str, Any]:
    """How the trial ended, and where."""
    return {
        "status": outcome.status,
        "error": outcome.error or None,
        "failure_kind": outcome.failure_kind,
        "epochs_done": outcome.epoch,
        "remark": outcome.remark or None,
    }


def teaching_columns(spec: TrialSpec, *, began_fresh: bool = False) -> dict[str, Any]:
    """The columns that say how the student is taught, and for how long; a file that it begins with by its name.

    `began_fresh`: whether nothing fitted it of what it was to begin with.
    """
    init = FRESH if began_fresh else wanted_init(spec)
    if spec.method in METHODS and inherits(make_method(spec.method, spec.options)):
        init = FROM_TEACHER
    return {
        "method": spec.method,
        "options_json": json.dumps(dict(spec.options), sort_keys=True),
        "init": None if init == FRESH else init,
        "parent": spec.parent.key if spec.parent and not began_fresh else None,
        "schedule_json": schedule_text(spec.schedule) or None,
        "seed": spec.seed,
        "epochs": spec.recipe.epochs,
        "last_epoch": spec.recipe.last_epoch,
    }


def wanted_init(spec: TrialSpec) -> str:
    """What the student of a trial is to begin with, as its column has it; its method may make others."""
    if spec.parent is not None:
        return "parent"
    init = str(first_changes(spec.schedule).get(INIT, spec.init))
    return init if init in {FRESH, FROM_TEACHER} else located_path(init).name


def validation_of(context: ExperimentContext) -> dict[str, Any]:
    """Facts of the validation images that a teacher's accuracy is compared with; with another metric their number."""
    labels, task = context.dataset.validation.labels, context.dataset.task
    if not task.labels_are_classes or task.metric != "accuracy":
        return {"val_images": len(labels)}
    return {"val_images": len(labels), "val_majority_fraction": int(labels.bincount().max()) / len(labels)}


def report_columns(metrics: Metrics) -> dict[str, Any]:
    """The columns that a trial's last report fills."""
    real = {name: float(metrics[name]) for name in MEASURED_COLUMNS if name in metrics}
    whole = {name: int(metrics[name]) for name in COUNTED if name in metrics}
    return real | whole


def latency_columns(context: ExperimentContext, spec: TrialSpec, outcome: Outcome, folder: Path) -> dict[str, Any]:
    """With a profile, the latency on its device: the quantity of limit and objective, whatever the trial measured.

    None of a network that is no point of the space: a teacher, or a part of another that the trial chose.
    """
    profile = context.device_profile
    if profile is None:
        return {}
    own = spec.space == context.experiment.space and not (folder / SUBGRAPH_FILE).exists()
    if not own or outcome.status == "failed":
        return dict.fromkeys(("latency_ms", "latency_iqr_ms", "latency_batch", "latency_threads"))
    try:
        latency = context.latency_ms(spec.architecture)
    except ConfigError:  # a layer that is like none that the profile knows, of a student that no limit refused
        latency = None
    return {
        "latency_ms": latency,
        "latency_iqr_ms": None,
        "latency_batch": profile.plan.batch,
        "latency_threads": profile.threads,
        "latency_device": profile.label,
    }


def on_profiled_device(context: ExperimentContext, spec: TrialSpec, outcome: Outcome, device: str) -> Outcome:
    """The outcome with the latency that its row has, for whoever follows it; as it is without a profile."""
    columns = latency_columns(context, spec, outcome, context.trial_paths(spec, device).trial)
    if not columns:
        return outcome
    rest = {name: value for name, value in outcome.metrics.items() if name not in columns}
    latency = columns["latency_ms"]
    return replace(outcome, metrics=rest if latency is None else {**rest, "latency_ms": latency})


def precision(metrics: Metrics) -> Precision | None:
    """As the column has it; a trial reports numbers only."""
    return PRECISIONS[int(metrics["precision"])] if "precision" in metrics else None


def points_of(curve: Curve) -> list[Point]:
    names = [item.name for item in fields(Point) if item.name != "epoch"]
    return [
        Point(epoch=epoch, **{name: metrics.get(name) for name in names}) for epoch, metrics in sorted(curve.items())
    ]


def replays(rows: pd.DataFrame, curves: pd.DataFrame) -> dict[str, list[Metrics]]:
    """What each trial that is complete or stopped reported, epoch by epoch, by its key."""
    ended = rows[rows["status"].isin(["complete", "stopped"])].drop_duplicates("key")
    by_key = {key: frame.sort_values("epoch") for key, frame in curves.groupby("key", observed=True)}
    records = [row for row in ended.to_dict("records") if row["key"] in by_key]
    return {row["key"]: replay(row, by_key[row["key"]]) for row in records}


def settled_failures(rows: pd.DataFrame, curves: pd.DataFrame) -> dict[str, tuple[list[Metrics], Failure]]:
    """What each trial reported that failed in a way that it would fail in again, and its failure, by its key."""
    settled = rows[is_settled(rows)].drop_duplicates("key")
    by_key = {key: frame.sort_values("epoch") for key, frame in curves.groupby("key", observed=True)}
    return {
        row["key"]: (
            replay(row, by_key[row["key"]]) if row["key"] in by_key else [],
            Failure(row["error"], row["failure_kind"]),
        )
        for row in settled.to_dict("records")
    }


def is_settled(rows: pd.DataFrame) -> pd.Series[bool]:
    """Which of `rows` are failures that are known to come again."""
    return (rows["status"] == "failed") & rows["failure_kind"].isin(SETTLED)


def replay(row: Mapping[Any, Any], curve: pd.DataFrame) -> list[Metrics]:
    cost = present_values(row, ("params", "macs"))
    if row.get("precision") in PRECISIONS:
        cost["precision"] = PRECISIONS.index(row["precision"])
    if pd.isna(row.get("init")) and wanted_init(TrialSpec.from_json(row["spec_json"])) != FRESH:
        cost[BEGAN_FRESH] = 1.0
    names = [item.name for item in fields(Point) if item.name != "epoch"]
    *earlier, last = [{**present_values(point, names), **cost} for point in curve.to_dict("records")]
    return [*earlier, {**last, **present_values(row, [*MEASURED_COLUMNS, *COUNTED])}]


def present_values(record: Mapping[Any, Any], names: Iterable[str]) -> dict[str, float]:
    """Those of `names` that have a value."""
    return {name: float(record[name]) for name in names if not pd.isna(record[name])}


@cache
def git_commit() -> str | None:
    """The commit of the source tree, marked if it has changes; None for an installed package."""
    here = Path(__file__).resolve().parents[2]
    try:
        commit = git(here, "rev-parse", "--short=12", "HEAD")
        changed = git(here, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+changes" if changed else "")


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@cache
def versions() -> str:
    packages = ("automl-kd", "torch", "torchvision", "ray", "optuna", "numpy")
    found = {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in packages}}
    return json.dumps(found)


@cache
def device_name(device: str) -> str:
    """The device in words; trials run on nodes like the one that records them, as far as is known here."""
    if device == "cuda":
        import torch  # noqa: PLC0415 - only where there is a device to ask

        return torch.cuda.get_device_name() if torch.cuda.is_available() else "cuda"
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"cpu {model or platform.processor() or platform.machine()}".strip()
