"""Trials of search and replay on the tiny networks, and how their results are compared."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
import torch

from automl_kd.errors import StopTrial
from automl_kd.methods import base, run_trial
from automl_kd.models.costs.latency import measure_latency
from automl_kd.models.weights.checkpoint import save_weights
from automl_kd.space import Architecture, Scalar
from automl_kd.spec import DataSpec, Recipe, TeacherSpec, TrialPaths, TrialSpec, teacher_trial
from automl_kd.training import loop, trial
from tests import tiny

TEACHER = TeacherSpec(model="tests.tiny:teacher")
DATA = DataSpec(name="stripes")
SHORT: dict[str, Scalar] = {"stages": "norm+pre_pool+pooled+logits", "transforms": "plain"}
PATHWAYS = 7  # norm, pre_pool, pooled: 3 + 2 + 1, and the logits


@pytest.fixture(autouse=True)
def stripes(monkeypatch):
    """The tiny data set under every name, a checkpoint after each epoch, and no time spent on latency."""
    monkeypatch.setattr(trial, "load_dataset", lambda *_: tiny.dataset())
    monkeypatch.setattr(base, "measure_latency", partial(measure_latency, budget_seconds=0.01))
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)


class Recorder:
    def __init__(self, stop: int = 0) -> None:
        self.stop = stop
        self.seen: dict[int, dict[str, float]] = {}

    def __call__(self, metrics: Mapping[str, float], *, epoch: int) -> None:
        timeless = {k: v for k, v in metrics.items() if k != "seconds" and not k.startswith("latency")}
        self.seen[epoch] = timeless
        if epoch == self.stop:
            raise StopTrial


def place(root: Path, trial: str) -> TrialPaths:
    where = TrialPaths(trial=root / trial, teachers=root / "teachers", data=root)
    file = where.teachers / teacher_trial(TEACHER, DATA).key / "student.pt"
    if not file.exists():
        torch.manual_seed(11)
        file.parent.mkdir(parents=True)
        save_weights(tiny.teacher(tiny.SHAPE), file)
    return where


def spec(method: str, options: Mapping[str, Scalar], **recipe: object) -> TrialSpec:
    return TrialSpec(
        space="tests.tiny:SPACE",
        architecture=Architecture.of({"width": 4}),
        method=method,
        options={**SHORT, **options},
        data=DATA,
        teacher=TEACHER,
        recipe=Recipe(**{"epochs": 3, "batch_size": 20, **recipe}),  # type: ignore[arg-type]
        seed=5,
    )


def trained(root: Path, method: str, options: Mapping[str, Scalar], trial: str, *, stop: int = 0) -> Recorder:
    recorder = Recorder(stop)
    run_trial(spec(method, options), recorder, place(root, trial))
    return recorder


def equal(one: object, two: object) -> bool:
    """Bit for bit, through dictionaries and lists; times aside."""
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(equal(one[key], two[key]) for key in one if key != "seconds")
    if isinstance(one, list | tuple) and isinstance(two, list | tuple):
        return len(one) == len(two) and all(equal(a, b) for a, b in zip(one, two, strict=True))
    if isinstance(one, torch.Tensor) and isinstance(two, torch.Tensor):
        return torch.equal(one, two)
    return one == two


def load(file: Path) -> object:
    return {k: v for k, v in torch.load(file, weights_only=True).items() if not k.startswith("latency")}


def without_latency(state: object) -> object:
    assert isinstance(state, dict)
    history = [{k: v for k, v in one.items() if not k.startswith("latency")} for one in state["history"]]
    return {**state, "history": history}
