"""What learned distillation is for: a partly wrong teacher does no harm, and a good one still helps."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from functools import partial
from pathlib import Path
from statistics import mean

import pytest
from torch import nn

from automl_kd.methods import base, run_trial
from automl_kd.methods.lkd.meta_data import hold_out_images
from automl_kd.models.costs.latency import measure_latency
from automl_kd.space import Architecture, Scalar
from automl_kd.spec import Recipe, TrialSpec
from automl_kd.training import trial
from tests.methods import mixture

SEEDS = (0, 1, 2, 3)
KD: Mapping[str, Scalar] = {"temperature": 2.0, "weight": 0.7}
LKD: Mapping[str, Scalar] = {
    "temperature": 2.0,
    "ce": 0.3,
    "weight": 0.7,
    "held_out": 300 / 1300,
    "interval": 5,
    "snapshots": 60,
    "lr": 3e-3,
}


def accuracy(root: Path, method: str, options: Mapping[str, Scalar], teacher: nn.Module, *, seed: int) -> float:
    """On the test images, of the student that `method` makes."""
    spec = TrialSpec(
        space="tests.methods.mixture:SPACE",
        architecture=Architecture.of({"width": 12}),
        method=method,
        options=options,
        data=mixture.DATA,
        teacher=mixture.TEACHER,
        # 1504 steps on 1000 images.
        recipe=Recipe(epochs=94, lr=0.1, nesterov=False, weight_decay=0.0, augment="none"),
        seed=seed,
    )
    seen: dict[str, float] = {}
    run_trial(spec, lambda metrics, *, epoch: seen.update(metrics), mixture.place(root, f"{method}{seed}", teacher))
    return seen["test_accuracy"]


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> dict[str, list[float]]:
    """Test accuracies by arm, one for each seed; every student is trained on the same 1000 images."""
    found: dict[str, list[float]] = {"ce": [], "kd, good": [], "kd, wrong": [], "lkd, good": [], "lkd, wrong": []}
    for seed in SEEDS:
        data, root = mixture.dataset(seed), tmp_path_factory.mktemp(f"seed{seed}")
        good = mixture.train_teacher(data, seed=seed)
        wrong = mixture.misled(deepcopy(good))
        seen, _ = hold_out_images(data, 300 / 1300, seed=mixture.DATA.split_seed)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(base, "measure_latency", partial(measure_latency, budget_seconds=0.01))
            patch.setattr(trial, "load_dataset", lambda *_, seen=seen: seen)
            found["ce"].append(accuracy(root, "scratch", {}, good, seed=seed))
            for name, teacher in (("good", good), ("wrong", wrong)):
                patch.setattr(trial, "load_dataset", lambda *_, seen=seen: seen)
                found[f"kd, {name}"].append(accuracy(root / name, "kd", KD, teacher, seed=seed))
                patch.setattr(trial, "load_dataset", lambda *_, data=data: data)
                found[f"lkd, {name}"].append(accuracy(root / name, "lkd", LKD, teacher, seed=seed))
    return found


@pytest.mark.long
def test_a_teacher_wrong_on_three_classes_of_ten_does_not_mislead(results):
    learned = mean(results["lkd, wrong"])
    assert learned >= mean(results["ce"]) + 0.02
    assert learned >= mean(results["kd, wrong"]) + 0.15


@pytest.mark.long
def test_a_good_teacher_helps_as_much_as_by_plain_distillation(results):
    assert mean(results["lkd, good"]) >= mean(results["kd, good"]) - 0.01
    assert mean(results["kd, good"]) >= mean(results["ce"]) + 0.02
