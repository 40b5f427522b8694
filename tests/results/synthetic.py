"""Rows that look like those of a real search, made from a few arguments."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from automl_kd.results import Point, ResultTable, Row
from automl_kd.results.store.row import ScoreRow

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


def row(**changes: Any) -> Row:
    """A complete search trial; `changes` replace its fields, and a changed seed changes the spec with it."""
    seed = changes.get("seed", 0)
    plain = Row(
        trial_kind="search",
        key="a" * 16,
        role="search",
        proposal=0,
        status="complete",
        space="search_spaces.tiny:SPACE",
        architecture_id="0123456789ab",
        values_json='{"depth": 1}',
        student="depth=1",
        method="kd",
        options_json='{"temperature": 4.0, "weight": 0.9}',
        dataset="digits",
        teacher="resnet20",
        seed=seed,
        epochs=10,
        epochs_done=10,
        val_accuracy=0.9,
        test_accuracy=0.88,
        val_accuracy_best=0.91,
        test_accuracy_best=0.89,
        best_epoch=8,
        train_loss=0.3,
        params=10_000,
        macs=1_000_000,
        seconds=20.0,
        train_macs=1e12,
        device="cpu",
        started=NOON,
        git_commit="0f1e2d3c",
        versions_json='{"python": "3.11.2", "torch": "2.15.0"}',
        spec_json=json.dumps({"data": {"name": "digits"}, "seed": seed}),
        experiment="tiny",
    )
    return dataclasses.replace(plain, **changes)


def finals(role: str, accuracies: dict[int, float], **changes: Any) -> list[Row]:
    """One final row per seed with these test accuracies; validation is one point higher."""
    method = "scratch" if role.endswith("scratch") else "kd"
    return [
        row(
            **{
                "trial_kind": "final",
                "role": role,
                "key": f"{role.replace('-', '')}{seed}",
                "seed": seed,
                "proposal": None,
                "test_accuracy": test,
                "val_accuracy": min(1.0, test + 0.01),
                "method": method,
                "options_json": "{}",
                **changes,
            }
        )
        for seed, test in accuracies.items()
    ]


def four_arms(found: dict[int, float], base: dict[int, float], **changes: Any) -> list[Row]:
    """The truth table's rows: the default student has 20,000 parameters, the found one 10,000."""
    default = {"architecture_id": "d" * 12, "student": "default", "params": 20_000}
    ours = {"architecture_id": "f" * 12, "student": "found", "params": 10_000, **changes}
    return [
        *finals("default-scratch", {seed: value - 0.02 for seed, value in base.items()}, **default),
        *finals("default-kd", base, **default),
        *finals("found-scratch", {seed: value - 0.02 for seed, value in found.items()}, **ours),
        *finals("found-method", found, **ours),
    ]


def curve(last: float, epochs: int) -> list[Point]:
    return [
        Point(epoch=epoch, val_accuracy=last * (1 - 0.6 * 0.7**epoch), train_loss=2.0 / epoch, lr=0.1, seconds=epoch)
        for epoch in range(1, epochs + 1)
    ]


def write_experiment(folder: Path, trials: int = 16) -> ResultTable:
    """A whole experiment: teacher, search with stopped and failed trials, finals, scores, experiment.json."""
    rng = np.random.default_rng(0)
    table = ResultTable(folder)
    teacher = row(
        trial_kind="teacher", role="teacher", key="t0", method="scratch", options_json="{}", teacher=None, epochs=40
    )
    teacher = dataclasses.replace(teacher, student="resnet20", params=272_474, proposal=None, test_accuracy=0.962)
    table.append(teacher, curve(0.97, 40))
    for number in range(trials):
        trial, reached = searched(number, rng)
        table.append(trial, curve(trial.val_accuracy or 0.5, reached))
    costs: dict[str, Any] = {"seconds": 61.0, "train_macs": 3.1e12, "macs": 2_400_000, "latency_ms": 0.82}
    for final in four_arms({0: 0.951, 1: 0.956, 2: 0.949}, {0: 0.931, 1: 0.938, 2: 0.929}):
        whole = dataclasses.replace(final, epochs=40, started=NOON + timedelta(hours=1), **costs)
        table.append(whole, curve(final.val_accuracy or 0.0, 40))
    record = {"name": "digits-tiny", "space": "search_spaces.tiny:SPACE", "search": {"trials": trials}}
    (folder / "experiment.json").write_text(json.dumps(record))
    return table


def searched(number: int, rng: np.random.Generator) -> tuple[Row, int]:
    """Search trial `number` and how many epochs it reached; every fourth is stopped, every seventh fails."""
    params = int(10 ** rng.uniform(3.6, 4.6))
    val = float(0.80 + 0.09 * (np.log10(params) - 3.6) + rng.normal(0, 0.015))
    name = {
        "key": f"{number:016x}",
        "proposal": number,
        "architecture_id": f"{number:012x}",
        "student": f"depth={number}",
    }
    trial = row(**name, params=params, macs=90 * params, started=NOON + timedelta(minutes=number))
    if number % 7 == 6:
        lost: dict[str, Any] = {
            "val_accuracy": None,
            "test_accuracy": None,
            "val_accuracy_best": None,
            "test_accuracy_best": None,
        }
        reason = "the loss became nan in epoch 3;\nlower lr or set clip_norm"
        return dataclasses.replace(trial, status="failed", epochs_done=2, error=reason, **lost), 2
    if number % 4 == 3:
        return dataclasses.replace(
            trial, status="stopped", epochs_done=3, val_accuracy=val - 0.1, test_accuracy=None
        ), 3
    return dataclasses.replace(trial, val_accuracy=val, test_accuracy=val - 0.01), 10


def score(proxy: str, number: int, value: float | None, **changes: Any) -> ScoreRow:
    """Score of architecture `number` by `proxy`."""
    plain = ScoreRow(
        space="search_spaces.tiny:SPACE",
        architecture_id=f"{number:012x}",
        values_json=f'{{"depth": {number}}}',
        student=f"depth={number}",
        proxy=proxy,
        score=value,
        spread=0.1,
        repeats=2,
        seconds=0.5,
        params=1000 * number,
        macs=100_000 * number,
        dataset="digits",
        seed=0,
    )
    return dataclasses.replace(plain, **changes)


CONTEST: dict[str, Any] = {
    "reference": "kd",
    "methods": [
        {"name": "scratch", "title": "", "method": "scratch"},
        {"name": "kd", "title": "KD, tuned", "method": "kd", "best": 1},
        {"name": "dkd", "title": "DKD", "method": "weighted_losses", "best": 2},
    ],
}
"""A section of a record; what the table does not read is left out."""


def contest_finals(name: str, accuracies: dict[int, float], compute: float = 1.0, **changes: Any) -> list[Row]:
    """Finals of contender `name`; `mark` tells its keys from those of another set of options."""
    mark = changes.pop("mark", "")
    epochs = round(40 * compute)
    stem = f"{name.replace('-', '')}{mark}{round(1000 * compute)}s"
    plain: dict[str, Any] = {"epochs": epochs, "epochs_done": epochs, "train_macs": compute * 1e12}
    entry = {"experiment": "methods", "compute_fraction": compute, "method": "kd", **plain, **changes}
    return [dataclasses.replace(one, key=f"{stem}{one.seed}") for one in finals(name, accuracies, **entry)]


def contest_choice(name: str, tried: dict[str, float], **changes: Any) -> list[Row]:
    """One trial of the choice for each set of options, as JSON, with these validation accuracies."""
    stem = name.replace("-", "")
    plain: dict[str, Any] = {
        "trial_kind": "choice",
        "role": name,
        "compute_fraction": 0.5,
        "proposal": None,
        "experiment": "methods",
    }
    return [
        row(
            **{
                **plain,
                "key": f"{stem}c{place}",
                "options_json": text,
                "val_accuracy": val,
                "seed": 1_000_000,
                **changes,
            }
        )
        for place, (text, val) in enumerate(tried.items())
    ]


FIELD = (
    ("scratch", "From scratch", "scratch", -0.031, ()),
    ("kd", "KD, tuned", "kd", 0.0, (0.1, 0.25, 0.5)),
    ("dkd", "DKD", "weighted_losses", 0.006, ()),
    ("dist", "DIST", "weighted_losses", 0.004, ()),
    ("mlkd", "Logit standardisation with MLKD", "weighted_losses", 0.003, ()),
    ("reviewkd", "ReviewKD, with KD", "weighted_losses", 0.002, ()),
    ("crd", "CRD, with KD", "weighted_losses", 0.001, ()),
    ("rkd", "RKD, with KD", "weighted_losses", -0.001, ()),
    ("distpro", "DistPro, searched and replayed", "distpro", 0.012, (0.1, 0.25, 0.5)),
    ("distpro-final", "DistPro, final weights only", "distpro", 0.002, ()),
    ("distpro-equal", "DistPro, equal weights", "distpro", -0.001, ()),
    ("lkd", "LKD, joint", "lkd", 0.002, ()),
    ("lkd-retrain", "LKD, learned loss retrained", "lkd", 0.001, ()),
    ("prokt", "ProKT, teacher from scratch", "prokt", -0.012, ()),
    ("prokt-pretrained", "ProKT, pre-trained teacher", "prokt", -0.002, ()),
    ("subgraph", "Student inside the teacher", "subgraph", 0.004, ()),
)
"""Sixteen contenders: name, title, method, gain over KD, further shares of the compute."""


def write_contest(folder: Path, seeds: int = 3) -> ResultTable:
    """A whole comparison of methods: teacher, choice, 22 entries, one failed final, experiment.json."""
    rng = np.random.default_rng(0)
    table = ResultTable(folder)
    teacher = row(
        trial_kind="teacher", role="teacher", key="t0", student="resnet56", teacher=None, experiment="methods"
    )
    table.append(dataclasses.replace(teacher, method="scratch", test_accuracy=0.962))
    noise = rng.normal(0, 0.004, seeds)  # of the seed itself, which pairing takes out
    for name, _, method, gain, more in FIELD:
        texts = [json.dumps({"temperature": t, "weight": w}) for t in (2.0, 4.0) for w in (0.5, 0.9)]
        if method in {"kd", "weighted_losses"}:
            for one in contest_choice(name, {text: 0.9 + rng.normal(0, 0.004) for text in texts}, method=method):
                table.append(one)
        for compute in (1.0, *more):
            level = 0.93 + gain * 2 * (1.2 - compute) + 0.03 * np.log10(compute) + noise
            reached = {seed: round(float(level[seed] + rng.normal(0, 0.002)), 4) for seed in range(seeds)}
            options = (
                texts[0]
                if method in {"kd", "weighted_losses"}
                else '{"pathways": "all", "transform": "complex", "every": 4}'
            )
            for one in contest_finals(name, reached, compute, method=method, options_json=options):
                lost = name == "prokt" and one.seed == 2
                broken: dict[str, Any] = {"status": "failed", "error": "the loss became nan", "test_accuracy": None}
                table.append(dataclasses.replace(one, **broken) if lost else one, curve(one.val_accuracy or 0.5, 5))
    line_up = [{"name": name, "title": title, "method": method} for name, title, method, *_ in FIELD]
    record = {
        "name": "methods",
        "data": {"train_images": 5000},
        "comparison": {"reference": "kd", "methods": line_up},
    }
    (folder / "experiment.json").write_text(json.dumps(record))
    return table
