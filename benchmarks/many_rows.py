"""Rows and curves by the thousand, as searches leave them: of real specs, whose architectures and seeds vary."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from automl_kd.results.store import parquet
from automl_kd.results.store.config_hash import hash_config
from automl_kd.results.store.row import CURVE_SCHEMA, ROW_SCHEMA
from automl_kd.space import Architecture, sample_architecture
from automl_kd.spec import DataSpec, Recipe, TeacherSpec, TrialSpec
from search_spaces.resnet import SPACE

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


def spec_of(architecture: Architecture) -> TrialSpec:
    return TrialSpec(
        space="search_spaces.resnet:SPACE",
        architecture=architecture,
        method="kd",
        options={"temperature": 4.0, "weight": 0.9},
        data=DataSpec(name="cifar10", digest="0123456789abcdef"),
        teacher=TeacherSpec(model="resnet20"),
        recipe=Recipe(),
        seed=0,
    )


def rows(count: int, *, seeds: int, experiment: str, first: int = 0) -> pa.Table:
    """`count` complete search trials of one experiment, each architecture with so many seeds in turn.

    `first`: number of its first architecture; others number have other keys and the specs of some fifty points.
    """
    rng = np.random.default_rng(first)
    points = [sample_architecture(SPACE, np.random.default_rng(place)) for place in range(50)]
    texts = [spec_of(point).to_json() for point in points]
    numbers = first + np.arange(count) // seeds
    seed = np.arange(count) % seeds
    accuracy = rng.uniform(0.5, 0.95, count)
    names = [f"{number:012x}" for number in numbers]
    trials = list(zip(numbers.tolist(), seed.tolist(), strict=True))
    known: dict[str, object] = {
        "key": [hashlib.sha256(f"{number} {one}".encode()).hexdigest()[:16] for number, one in trials],
        "proposal": np.arange(count),
        "architecture_id": names,
        "values_json": [json.dumps({**points[number % 50].as_dict(), "number": number}) for number in numbers.tolist()],
        "student": [f"basic {number}" for number in numbers],
        "seed": seed,
        "val_accuracy": accuracy,
        "test_accuracy": accuracy - 0.01,
        "val_accuracy_best": accuracy + 0.01,
        "test_accuracy_best": accuracy,
        "params": 10_000 + numbers,
        "macs": 1_000_000 + numbers,
        "seconds": rng.uniform(10, 20, count),
        "train_macs": rng.uniform(1e12, 2e12, count),
        "spec_json": [
            texts[number % 50].replace('"seed": 0, "space"', f'"seed": {one}, "space"') for number, one in trials
        ],
    }
    constant = constant_values(experiment, texts[0])
    columns = [
        pa.array(known[field.name]).cast(field.type)
        if field.name in known
        else pa.repeat(pa.scalar(constant.get(field.name), field.type), count)
        for field in ROW_SCHEMA
    ]
    return pa.Table.from_arrays(columns, schema=ROW_SCHEMA)


def constant_values(experiment: str, spec: str) -> dict[str, object]:
    """What every row of `rows` says alike; `spec`: of one of its trials."""
    return {
        "trial_kind": "search",
        "role": "search",
        "status": "complete",
        "space": "search_spaces.resnet:SPACE",
        "method": "kd",
        "options_json": '{"temperature": 4.0, "weight": 0.9}',
        "dataset": "cifar10",
        "teacher": "resnet20",
        "epochs": 30,
        "epochs_done": 30,
        "best_epoch": 28,
        "train_loss": 0.3,
        "device": "cpu",
        "started": NOON,
        "config_hash": hash_config(spec),
        "git_commit": "0f1e2d3c4b5a",
        "versions_json": '{"python": "3.11.2", "torch": "2.15.0"}',
        "experiment": experiment,
    }


def curves(trials: pa.Table, epochs: int) -> pa.Table:
    """A curve of so many epochs for each row."""
    count = len(trials) * epochs
    rng = np.random.default_rng(0)
    repeated = {name: np.repeat(trials[name].to_numpy(), epochs) for name in ("experiment", "trial_kind", "key")}
    known: dict[str, object] = {
        **repeated,
        "epoch": np.tile(np.arange(1, epochs + 1), len(trials)),
        **{name: rng.uniform(0, 1, count) for name in ("train_loss", "val_accuracy", "val_loss", "lr", "seconds")},
    }
    columns = [pa.array(known[field.name]).cast(field.type) for field in CURVE_SCHEMA]
    return pa.Table.from_arrays(columns, schema=CURVE_SCHEMA)


def write(folder: Path, trials: pa.Table, epochs: int = 0) -> None:
    """As a finished search leaves them: one part of rows, and one of curves."""
    parquet.write_parquet(trials, folder / "rows" / "part-000001-00000000.parquet")
    if epochs:
        parquet.write_parquet(curves(trials, epochs), folder / "curves" / "part-000001-00000000.parquet")
