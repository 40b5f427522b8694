"""Rows of a distillation, as a run of `automl-kd distill` leaves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from automl_kd.results import ResultTable, Row
from tests.results.synthetic import curve, finals, row

STUDENT: dict[str, Any] = {
    "space": "model:resnet8",
    "student": "resnet8",
    "architecture_id": "a" * 12,
    "params": 77_800,
    "experiment": "taught",
}
SCRATCH, KD, METHOD = {0: 0.90, 1: 0.91, 2: 0.92}, {0: 0.92, 1: 0.93, 2: 0.94}, {0: 0.95, 1: 0.97, 2: 0.96}


def trainings(
    method: dict[int, float] | None = METHOD, kd: dict[int, float] = KD, scratch: dict[int, float] = SCRATCH
) -> list[Row]:
    """Both roles from scratch are the same trials; without `method` KD is the method, and so are both roles by KD."""
    plain = {**STUDENT, "options_json": '{"temperature": 4.0}'}
    own = {**STUDENT, "method": "weighted_losses", "options_json": '{"losses": "dkd=1"}', "train_macs": 1.2e12}
    last = finals("found-method", kd, **plain) if method is None else finals("found-method", method, **own)
    return [
        *finals("default-scratch", scratch, **{**STUDENT, "epochs": 14}),
        *finals("default-kd", kd, **plain),
        *finals("found-scratch", scratch, **{**STUDENT, "epochs": 14}),
        *last,
    ]


def teacher(**changes: Any) -> Row:
    known = {"student": "resnet20", "method": "scratch", "params": 272_000, "epochs": 30, "experiment": "taught"}
    measured = {"val_accuracy": 0.98, "test_accuracy": 0.97, "val_images": 144, "val_majority_fraction": 0.11}
    more = {"space": "model:resnet20", "seconds": 100.0, "train_macs": 5e12}
    return row(trial_kind="teacher", role="teacher", key="t0", **{**known, **measured, **more, **changes})


def write_distillation(folder: Path, rows: list[Row]) -> Path:
    table = ResultTable(folder)
    for one in rows:
        table.append(one, curve(one.val_accuracy or 0.5, 5))
    record = {"name": "taught", "space": "model:resnet8", "search": {"trials": 12}, "recipe": {"epochs": 10}}
    (folder / "experiment.json").write_text(json.dumps(record))
    return folder
