"""The arms of the baseline comparison: what the final trials of each role came to, and what each stage cost.

Arms are compared seed by seed: each seed gives one difference, and the 95 % interval is over these differences.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from automl_kd.results import units
from automl_kd.results.statistics.interval import Estimate, estimate_mean
from automl_kd.results.store.row import FROM_FILE
from automl_kd.spec import FOUND_FRESH, FOUND_LABELS, FinalRole

WARM_START, ANSWERS = "warm start", "teacher's answers"

ARMS: dict[FinalRole, str] = {
    "default-scratch": "default student, scratch",
    "default-kd": "default student, plain KD",
    "found-scratch": "found student, scratch",
    "found-labels": "found student, labels alone, same weights",
    "found-fresh": "found student, its method, fresh weights",
    "found-method": "found student, its method",
}

GAIN_QUESTIONS = {
    "search": "what the whole search gained",
    "architecture": "what the architecture gained by itself",
    "teaching": "what the teaching gained by itself",
    ANSWERS: "what the teacher's answers gained by themselves",
    WARM_START: "what beginning with weights gained by itself",
}
"""What each of `COMPARISONS` answers."""

COMPARISONS: dict[str, tuple[FinalRole, FinalRole]] = {
    "search": ("found-method", "default-kd"),
    "architecture": ("found-scratch", "default-scratch"),
    "teaching": ("found-method", "found-scratch"),
    ANSWERS: ("found-method", FOUND_LABELS),
    WARM_START: ("found-method", FOUND_FRESH),
}
"""The comparisons: the gain of the whole search, of the architecture alone, of distillation for the found student,
and where it begins with weights, of the teacher's answers and of these weights."""


PLAIN_PARTS = {
    "search": "whole search",
    "architecture": "architecture",
    "teaching": "teaching",
    ANSWERS: ANSWERS,
    WARM_START: WARM_START,
}


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One line of the baseline comparison.

    `accuracy` is by seed; costs are means per trial, without `failed` ones. `init`: what the student began with, empty
    for drawn weights.
    """

    role: FinalRole
    student: str
    architecture_id: str
    method: str
    options_json: str
    schedule_json: str
    init: str = ""
    epochs: int
    last_epoch: float = 1.0
    params: float | None
    accuracy: dict[int, float]
    test: Estimate
    val: Estimate
    train_macs: float
    seconds: float
    failed: int

    @property
    def length(self) -> str:
        """Epochs with the fraction of the last one, for people."""
        return units.epochs(self.epochs, self.last_epoch)


HELD = ("architecture_id", "method", "options_json", "schedule_json", "init", "epochs", "last_epoch")
"""The columns in which the trials of an arm agree."""


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """What a stage cost, all its trials together. `trainings`: its multiply-adds in trainings of the arm default-kd."""

    stage: str
    trials: int
    seconds: float
    train_macs: float
    trainings: float


def arm(rows: pd.DataFrame, role: FinalRole, metric: str) -> Arm | None:
    """The complete trials of one role; None without any. If the role changed hands, its latest holder."""
    texts = {name: ["" if pd.isna(one) else str(one) for one in rows[name]] for name in ("schedule_json", "init")}
    rows = rows.assign(**texts, last_epoch=rows["last_epoch"].fillna(1.0))
    complete = rows[(rows["status"] == "complete") & rows[metric].notna()]
    if complete.empty:
        return None
    latest = complete.sort_values(["started", "key"], na_position="first").iloc[-1]
    ours = pd.Series([all(row[name] == latest[name] for name in HELD) for row in rows.to_dict("records")], rows.index)
    trials = complete[ours[complete.index]].sort_values("seed")
    known = trials["params"].dropna()
    return Arm(
        role=role,
        **{name: str(latest[name]) for name in ("student", *HELD[:5])},
        epochs=int(latest["epochs"]),
        last_epoch=float(latest["last_epoch"]),
        params=float(known.iloc[0]) if len(known) else None,
        accuracy={int(seed): float(value) for seed, value in zip(trials["seed"], trials[metric], strict=True)},
        test=estimate_mean(trials[metric]),
        val=estimate_mean(trials[metric.replace("test_", "val_")]),
        train_macs=float(trials["train_macs"].mean()),
        seconds=float(trials["seconds"].mean()),
        failed=int((rows[ours]["status"] != "complete").sum()),
    )


def paired(arms: dict[FinalRole, Arm], better: FinalRole, base: FinalRole) -> Estimate:
    """Accuracy of `better` minus that of `base`, over the seeds that both completed."""
    if better not in arms or base not in arms:
        return estimate_mean([])
    ours, theirs = arms[better].accuracy, arms[base].accuracy
    # Rounded far below what a test set resolves, so that equal differences have no spread from the last bits.
    return estimate_mean(round(ours[seed] - theirs[seed], 12) for seed in ours if seed in theirs)


def part_titles(arms: Mapping[FinalRole, Arm]) -> dict[str, str]:
    """What each of `COMPARISONS` holds apart, by its key.

    From scratch a student begins fresh, so that against it teaching and start count together; and it has the recipe
    that was found, so that against the default student architecture and recipe do.
    """
    titles = dict(PLAIN_PARTS)
    found, alone, default = (arms.get(role) for role in ("found-method", "found-scratch", "default-scratch"))
    if found is not None and found.init:
        titles["teaching"] = "teaching and the start"
    if alone is not None and default is not None and alone.schedule_json != default.schedule_json:
        same = alone.architecture_id == default.architecture_id
        titles["architecture"] = "recipe" if same else "architecture and the recipe"
    return titles


def stage_cost(rows: pd.DataFrame, trial_kind: str, unit: Arm | None) -> StageCost:
    """All trainings of a kind, whatever came of them; a trial with two roles counts once."""
    ours = rows[(rows["trial_kind"] == trial_kind) & (rows["method"] != FROM_FILE)].drop_duplicates("key")
    train_macs = float(ours["train_macs"].sum())
    return StageCost(
        stage=trial_kind,
        trials=len(ours),
        seconds=float(ours["seconds"].sum()),
        train_macs=train_macs,
        trainings=train_macs / unit.train_macs if unit is not None and unit.train_macs > 0 else math.nan,
    )


def describe_teaching(one: Arm) -> str:
    chosen = "; ".join(filter(None, (units.options(one.options_json), units.schedule(one.schedule_json))))
    return (f"{one.method} ({chosen})" if chosen else one.method) + units.beginning(one.init)


def have_same_teaching(found: Arm, base: Arm) -> bool:
    """Whether both arms are the same trials under two names."""
    return all(getattr(found, name) == getattr(base, name) for name in HELD)
