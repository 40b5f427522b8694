"""An experiment's folder with trials and scores of known numbers, made by the product's own writers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from automl_kd.results import ResultTable, Row
from automl_kd.results.store.row import ScoreRow
from automl_kd.results.store.scores import write_scores
from tests.results.synthetic import row, score

RECORD: dict[str, Any] = {
    "name": "tiny",
    "space": "search_spaces.tiny:SPACE",
    "data": {"name": "digits"},
    "recipe": {"epochs": 4},
    "finalists": {"epochs": 10, "seeds": [0, 1]},
}

Trials = Iterable[Row]


def trial(key: str, architecture: str, val: float | None, params: int, **changes: Any) -> Row:
    """A search trial of four epochs of ten; `params` also say MACs, 100 times as many."""
    plain = {"key": key, "architecture_id": architecture, "student": f"net {architecture}", "val_accuracy": val}
    costs = {"params": params, "macs": 100 * params, "spec_json": None, "config_hash": "c0ffee"}
    return row(**{**plain, **costs, "epochs": 4, "epochs_done": 4, "test_accuracy": val, **changes})


def final(key: str, architecture: str, val: float, params: int, role: str = "found-method", **changes: Any) -> Row:
    """One of ten epochs, in full."""
    stage = {"trial_kind": "final", "role": role, "proposal": None, "epochs": 10, "epochs_done": 10}
    return trial(key, architecture, val, params, **{**stage, **changes})


def teacher(images: int = 400, **changes: Any) -> Row:
    stage: dict[str, Any] = {"trial_kind": "teacher", "role": "teacher", "proposal": None, "teacher": None}
    return row(
        **{
            "key": "t0",
            "config_hash": "c0ffee",
            **stage,
            "method": "scratch",
            "val_images": images,
            "params": 10**7,
            **changes,
        }
    )


def write_archive(
    folder: Path, trials: Trials = (), scores: Iterable[ScoreRow] = (), record: dict[str, Any] | None = None
) -> Path:
    table = ResultTable(folder)
    for one in trials:
        table.append(one)
    if listed := list(scores):
        write_scores(folder, listed)
    folder.mkdir(exist_ok=True)
    (folder / "experiment.json").write_text(json.dumps(RECORD if record is None else record))
    return folder


def two_finals(**changes: Any) -> list[Row]:
    """A found student of 80 % and 84 % on validation, the default one of 70 % and 72 %, and the teacher."""
    default = {"role": "default-kd", **changes}
    return [
        teacher(),
        final("f0", "f" * 12, 0.80, 10_000, seed=0, test_accuracy=0.78, **changes),
        final("f1", "f" * 12, 0.84, 10_000, seed=1, test_accuracy=0.80, **changes),
        final("d0", "d" * 12, 0.70, 20_000, seed=0, **default),
        final("d1", "d" * 12, 0.72, 20_000, seed=1, **default),
    ]


def proxies(number: int, naswot: float | None, synflow: float | None) -> list[ScoreRow]:
    """Architecture `number`, of 1000 `number` parameters, scored by two."""
    return [score("naswot", number, naswot), score("synflow", number, synflow)]
