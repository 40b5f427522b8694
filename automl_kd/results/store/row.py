"""What one row of results holds: the only place where columns are named.

A record is a dataclass; its Arrow schema is derived from it. To add a column, add a field with the default None: files
written before read as null. To rename one, list its old name in renamed_columns.py. Accuracies are fractions in [0, 1];
other units stand in the names.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from types import NoneType
from typing import Any, Literal, get_args, get_type_hints

import pyarrow as pa

from automl_kd.errors import ResultError
from automl_kd.registry import SLUG
from automl_kd.spec import FINAL_ROLES, FailureKind

TrialKind = Literal["teacher", "search", "choice", "final"]
Status = Literal["complete", "stopped", "failed"]
Precision = Literal["float32", "bfloat16", "float64", "float16"]
Role = str

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
FROM_FILE = "from-file"
"""The method of a teacher that was not trained here: what came of it was measured."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One trial as recorded. (`trial_kind`, `role`, `key`) names it; None means not measured or not applicable.

    `trial_kind`: the stage that the trial belongs to. `role`: the same, except in "final": there what the trial stands
    for, one of `FINAL_ROLES`; in a comparison the method's name there, also in "choice". One trial that stands
    for two roles has a row for each.
    `failure_kind`: of what kind the `error` of a failed trial is. `remark`: what the method says of its own search, as
    that it found nothing, or that nothing fitted the student of what it was to begin with, in a sentence.
    `compute_fraction`: in a comparison of methods, the fraction of its full compute that the trial was given.
    `readings_json`: of a final, {reading: fraction of what is equal} for those of `READINGS` that it serves; None in
    rows of earlier versions, which knew "compute" alone.
    `architecture_id`: twelve hex digits; `values_json`, `student`: the same point for programs and for people.
    `metric`: what stands in the columns of accuracy, of which more is always better: "accuracy", or what `data.metric`
    says, which may lie outside [0, 1]; None in rows of earlier versions.
    `val_accuracy`, `test_accuracy`: of the last epoch; `..._best`: of the epoch best on validation, `best_epoch`.
    `epochs`: asked for; `epochs_done`: reached. `last_epoch`: the fraction of its steps that the last epoch takes; None
    in rows of earlier versions, whose epochs are whole. `latency_iqr_ms`: spread of `latency_ms`, measured with
    `latency_batch` images and `latency_threads` threads. `seconds`: training time.
    `int8_val_accuracy`: `metric` of the last epoch's weights, quantised to eight bits as an export does, with
    `export.int8`; None where that failed. `int8_seconds`: what that took after the training; not part of `seconds`.
    `latency_ms` is measured on the trial's device at its end, while other trials may run beside it; where
    `latency_device` names one, it is predicted for that device from a profile of it, as limits and objectives are.
    `precision`: in which numbers the products of forward passes were computed; None in rows of earlier versions, which
    did not note whether autocast was on.
    `train_macs`: multiply-adds of all forward and backward passes, the teacher's included, and those that were saved.
    `teacher_passes`: of the teacher on training batches, where a cache keeps its outputs; `teacher_passes_saved`: read
    there instead, less those made ahead for others, and the seconds that these had taken when they were made.
    `images_delivered`: of streamed images, to the trial; `images_decoded`: of these, those that were decoded for it, as
    no other trial had them decoded before; `loader_seconds`: in which it waited for them.
    `val_images`: of a teacher, the number of images that its validation accuracy is of. `val_majority_fraction`: the
    fraction of them that are of the largest class, which one reaches who always names that class; None of a `metric`
    other than accuracy.
    `init`: what the student began with, where its weights were not drawn: "teacher", the name of a file, or "parent",
    and then `parent` is the key of the trial whose weights it took, and `ancestor_macs` are the multiply-adds of that
    one's training and of all before it, which are not part of `train_macs`.
    `schedule_json`: what changed while it trained, [[fraction of the run, {name: value}], ...]. `lineage_json`: of a
    member of a population, [[epochs, number, key], ...]: after how many epochs it took over whose weights.
    `stand_in`: whether other images stood in for those that the experiment is about: nothing follows from the numbers.
    `started` must carry a time zone. `spec_json` holds the complete spec, so the row can be made again; `config_hash`:
    six hex digits of its data, recipe and teacher (see config_hash.py). Rows of earlier versions get it when they are
    read.
    """

    trial_kind: TrialKind
    key: str
    role: Role
    proposal: int | None = None
    status: Status
    error: str | None = None
    failure_kind: FailureKind | None = None
    remark: str | None = None
    space: str
    architecture_id: str
    values_json: str
    student: str
    method: str
    options_json: str
    init: str | None = None
    parent: str | None = None
    ancestor_macs: float | None = None
    schedule_json: str | None = None
    lineage_json: str | None = None
    stand_in: bool | None = None
    dataset: str
    teacher: str | None = None
    seed: int
    epochs: int
    epochs_done: int | None = None
    last_epoch: float | None = None
    compute_fraction: float | None = None
    readings_json: str | None = None
    metric: str | None = None
    val_accuracy: float | None = None
    test_accuracy: float | None = None
    best_epoch: int | None = None
    val_accuracy_best: float | None = None
    test_accuracy_best: float | None = None
    train_loss: float | None = None
    params: int | None = None
    macs: int | None = None
    latency_ms: float | None = None
    latency_iqr_ms: float | None = None
    latency_batch: int | None = None
    latency_threads: int | None = None
    int8_val_accuracy: float | None = None
    int8_seconds: float | None = None
    latency_device: str | None = None
    seconds: float | None = None
    train_macs: float | None = None
    teacher_passes: int | None = None
    teacher_passes_saved: int | None = None
    teacher_seconds_saved: float | None = None
    images_delivered: int | None = None
    images_decoded: int | None = None
    loader_seconds: float | None = None
    val_images: int | None = None
    val_majority_fraction: float | None = None
    device: str | None = None
    precision: Precision | None = None
    started: datetime | None = None
    git_commit: str | None = None
    versions_json: str | None = None
    spec_json: str | None = None
    config_hash: str | None = None
    experiment: str

    def __post_init__(self) -> None:
        demand("trial_kind", self.trial_kind, get_args(TrialKind))
        if self.compute_fraction is None:
            demand("role", self.role, FINAL_ROLES if self.trial_kind == "final" else (self.trial_kind,))
        elif re.fullmatch(SLUG, self.role) is None:
            raise ResultError(f"the role of a compared method is lower-case letters, digits and '-', got {self.role!r}")
        demand("status", self.status, get_args(Status))
        if self.failure_kind is not None:
            demand("failure_kind", self.failure_kind, get_args(FailureKind))
        if self.precision is not None:
            demand("precision", self.precision, PRECISIONS)
        if not (self.key.isascii() and self.key.isalnum()):
            raise ResultError(f"a row's key names its file and must be letters and digits, got {self.key!r}")
        if self.started is not None and self.started.tzinfo is None:
            raise ResultError(f"started must carry a time zone, got {self.started}; use datetime.now(timezone.utc)")
        check_fractions(self)


def readings_of(readings_json: str | None, compute_fraction: float = 1.0) -> dict[str, float]:
    """The readings that a final serves, with their fractions; rows of earlier versions serve "compute" alone."""
    if not isinstance(readings_json, str):  # or what pandas puts in the place of None
        return {"compute": compute_fraction}
    found: dict[str, float] = json.loads(readings_json)
    return found


@dataclass(frozen=True, kw_only=True)
class Point:
    """One epoch of a learning curve, `epoch` counted from 1. `seconds`: training time up to its end."""

    epoch: int
    train_loss: float | None = None
    val_accuracy: float | None = None
    val_loss: float | None = None
    lr: float | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        check_fractions(self)


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """One architecture scored by one proxy; higher promises better.

    `score`: mean over `repeats`, each with weights and images of its own; None if scoring failed; `error` has the
    reason. `spread`: their standard deviation. `seconds`: time of all repeats. `among`: of an aggregate, how many
    architectures its ranks were taken among; scores from different sets do not compare.
    """

    space: str
    architecture_id: str
    values_json: str
    student: str
    proxy: str
    score: float | None
    spread: float | None = None
    repeats: int = 1
    images: int | None = None
    seconds: float | None = None
    params: int | None = None
    macs: int | None = None
    error: str | None = None
    dataset: str
    teacher: str | None = None
    seed: int
    among: int | None = None


def demand(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ResultError(f"a row's {name} is {value!r} here; it must be one of {', '.join(allowed)}")


def check_fractions(record: Row | Point) -> None:
    """Refuse accuracies outside [0, 1]; None and NaN are both read as missing.

    Another metric may lie below 0; what that is a point of a curve does not say.
    """
    least = 0 if isinstance(record, Row) and record.metric in {None, "accuracy"} else -math.inf
    for item in fields(record):
        value = getattr(record, item.name)
        if "accuracy" in item.name and value is not None and (value < least or value > 1):
            raise ResultError(f"{item.name} must be a fraction in [0, 1], got {value}; divide percentages by 100")


ARROW_TYPES = {
    str: pa.string(),
    int: pa.int64(),
    bool: pa.bool_(),
    float: pa.float64(),
    datetime: pa.timestamp("us", tz="UTC"),
}


def schema_of(record: type[Row | Point | ScoreRow]) -> pa.Schema:
    hints = get_type_hints(record)
    return pa.schema([(item.name, arrow_type(hints[item.name])) for item in fields(record)])


def arrow_type(hint: Any) -> pa.DataType:
    """`int | None` is a nullable int64; a `Literal` of strings, or a union of such, is a string."""
    if hint in ARROW_TYPES:
        return ARROW_TYPES[hint]
    first = next(option for option in get_args(hint) if option is not NoneType)
    return pa.string() if isinstance(first, str) else arrow_type(first)


ROW_SCHEMA = schema_of(Row)
CURVE_SCHEMA = pa.schema(
    [ROW_SCHEMA.field(name) for name in ("experiment", "trial_kind", "key")] + list(schema_of(Point))
)
SCORE_SCHEMA = schema_of(ScoreRow)


def check_columns(record: Mapping[str, object], schema: pa.Schema) -> None:
    """Raise `ResultError` unless `record` has exactly the columns of `schema`: pyarrow drops others in silence."""
    if unknown := sorted(set(record) - set(schema.names)):
        raise ResultError(
            f"the results table has no column {unknown[0]!r}; add it to automl_kd/results/store/row.py first"
        )
    if missing := sorted(set(schema.names) - set(record)):
        raise ResultError(f"a record for the results table lacks {missing[0]!r}; write None where nothing is known")
