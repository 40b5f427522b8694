"""What an epoch's losses do not show: weights, statistics and measurements that are not finite after its last step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automl_kd.data import Batch
from automl_kd.errors import DivergedError
from automl_kd.methods import refuse_nonfinite_reports
from automl_kd.spec import Recipe
from automl_kd.training import loop
from automl_kd.training.divergence import Sound
from tests import tiny

STEPS = 6
RECIPE = Recipe(epochs=2, batch_size=16, lr=0.1, optimizer="adamw", channels_last=False)


class Masked(tiny.Net):
    """With a mask of attention, which is infinite on purpose."""

    def __init__(self) -> None:
        super().__init__(tiny.SHAPE, 4)
        self.register_buffer("mask", torch.full((2, 2), -math.inf).triu(1))


def trained(folder: Path, harm: str, at: int, student: nn.Module | None = None) -> tiny.Recorder:
    """Two epochs of six steps; after the forward pass of step `at` something is no longer finite."""
    torch.manual_seed(7)
    student = tiny.Net(tiny.SHAPE, 4) if student is None else student
    loss_modules, recorder, step = nn.Linear(2, 2), tiny.Recorder(), 0

    def objective(batch: Batch) -> Mapping[str, Tensor]:
        nonlocal step
        step += 1
        terms = {"ce": F.cross_entropy(student(batch.inputs), batch.labels), "own": loss_modules.weight.square().sum()}
        if step == at:
            spoil(harm, student, loss_modules)
        return terms

    loop.fit_student(
        student,
        objective,
        tiny.dataset(),
        RECIPE,
        seed=3,
        folder=folder,
        report=recorder,
        finish=dict,
        loss_modules=loss_modules,
    )
    return recorder


def spoil(harm: str, student: nn.Module, loss_modules: nn.Linear) -> None:
    """As a gradient that overflows does, whose step is taken after the loss was computed."""
    if harm == "weight":
        student.get_parameter("stem.weight").register_hook(lambda slope: slope * math.nan)
    elif harm == "adapter":
        loss_modules.weight.register_hook(lambda slope: slope * math.inf)
    elif harm == "statistics":  # accuracy and loss in evaluation stay finite: x / inf is 0
        variance = student.get_buffer("norm.running_var")
        student.get_parameter("stem.weight").register_hook(lambda slope: slope + 0 * variance.fill_(math.inf).numel())


@pytest.mark.parametrize(
    ("harm", "name"),
    [
        ("weight", "student.stem.weight"),
        ("adapter", "loss_modules.weight"),
        ("statistics", "student.norm.running_var"),
    ],
)
@pytest.mark.parametrize("epoch", [1, 2])
def test_what_the_last_step_of_an_epoch_ruins_ends_the_trial(tmp_path, harm, name, epoch):
    with pytest.raises(DivergedError, match=rf"^{name} is no longer finite after .* epoch {epoch}; lower"):
        trained(tmp_path, harm, epoch * STEPS)
    assert not (tmp_path / "student.pt").exists()


def test_a_loss_of_validation_without_a_value_ends_the_trial(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "evaluate", lambda *_: (1 / 3, math.nan))
    with pytest.raises(DivergedError, match=r"^val_loss became nan in epoch 1; lower"):
        trained(tmp_path, "", 0)


def test_what_is_infinite_on_purpose_is_no_divergence(tmp_path):
    torch.manual_seed(7)
    assert sorted(trained(tmp_path, "", 0, Masked()).seen) == [1, 2]


def test_whole_numbers_and_networks_without_weights_are_sound():
    Sound(student=nn.ReLU(), loss_modules=nn.BatchNorm2d(2, affine=False)).refuse(1)


def test_no_method_reports_what_is_not_finite():
    recorder = tiny.Recorder()
    report = refuse_nonfinite_reports(recorder)
    report({"val_accuracy": 0.5}, epoch=1)
    with pytest.raises(DivergedError, match=r"^train_loss became inf in epoch 2; lower"):
        report({"val_accuracy": 0.5, "train_loss": math.inf}, epoch=2)
    assert list(recorder.seen) == [1]
