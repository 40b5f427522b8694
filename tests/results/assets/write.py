"""Write a few results as the imported version of the library does, into a folder named by its commit or its news.

To add the assets of a commit, with another checkout of it in CHECKOUT:
PYTHONPATH=CHECKOUT python tests/results/assets/write.py tests/results/assets/COMMIT
"""

from __future__ import annotations

import sys
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from automl_kd.results import Point, ResultTable, Row
from automl_kd.results.store.row import ScoreRow
from automl_kd.results.store.scores import write_scores

BEGUN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

PLAIN: dict[str, Any] = {
    "space": "search_spaces.resnet:SPACE",
    "architecture_id": "0123456789ab",
    "values_json": '{"depth": 1}',
    "student": "depth=1",
    "method": "kd",
    "options_json": '{"temperature": 4.0}',
    "dataset": "digits",
    "teacher": "resnet20",
    "seed": 7,
    "epochs": 2,
    "params": 1234,
    "macs": 56_789,
    "device": "cpu",
    "git_commit": "0f1e2d3c",
    "spec_json": '{"seed": 7}',
    "experiment": "asset",
}
MEASURED: dict[str, Any] = {"epochs_done": 2, "val_accuracy": 0.75, "test_accuracy": 0.7, "seconds": 1.5}
TRIALS: list[dict[str, Any]] = [
    {"trial_kind": "teacher", "role": "teacher", "key": "aa", "status": "complete", "teacher": None, **MEASURED},
    {"trial_kind": "search", "role": "search", "key": "bb", "proposal": 0, "status": "complete", **MEASURED},
    {"trial_kind": "search", "role": "search", "key": "cc", "proposal": 1, "status": "stopped", "epochs_done": 1},
    {
        "trial_kind": "search",
        "role": "search",
        "key": "dd",
        "proposal": 2,
        "status": "failed",
        "error": "the loss became nan",
    },
    {"trial_kind": "final", "role": "found-method", "key": "ee", "status": "complete", **MEASURED, "latency_ms": 0.25},
]
# Columns that came later, where they are known.
LATER: dict[str, dict[str, Any]] = {
    "aa": {"val_images": 40, "val_majority_fraction": 0.25},
    "cc": {"config_hash": "abcdef"},
    "dd": {"failure_kind": "diverged"},
    "ee": {"train_macs": 2.5e9, "compute_fraction": 0.5},
}


def write(folder: Path) -> None:
    """Part of the rows folded, part loose; what is later than the imported version is left out."""
    table = ResultTable(folder)
    known = {item.name for item in fields(Row)}
    for number, trial in enumerate(TRIALS):
        every = {**PLAIN, **trial, **LATER.get(trial["key"], {}), "started": BEGUN + timedelta(minutes=number)}
        reached = int(trial.get("epochs_done", 0))
        curve = [Point(epoch=epoch, val_accuracy=0.375 * epoch, lr=0.1, seconds=1.0) for epoch in range(1, reached + 1)]
        table.append(Row(**{name: value for name, value in every.items() if name in known}), curve)
        if number == 2:
            table.fold()
    names = {item.name for item in fields(ScoreRow)}
    score = {**PLAIN, "proxy": "naswot", "score": 1.5, "images": 64, "repeats": 2}
    write_scores(folder, [ScoreRow(**{name: value for name, value in score.items() if name in names})])


if __name__ == "__main__":
    write(Path(sys.argv[1]))
