"""The average of the weights: its formula, what is measured and kept, and that it continues exactly."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from automl_kd.errors import StopTrial
from automl_kd.spec import Recipe
from automl_kd.training import loop, training_run
from automl_kd.training.average import WeightAverage
from automl_kd.training.evaluate import evaluate
from tests import tiny
from tests.training.test_loop import equal, fresh, run, timeless

AVERAGED = Recipe(epochs=4, batch_size=16, lr=0.1, ema=0.9)


def test_renewals_by_hand():
    network = torch.nn.Linear(1, 1, bias=False, dtype=torch.float64)
    network.weight.data.fill_(1.0)
    average = WeightAverage(network, 0.15, interval=2)
    seen = []
    for step in range(6):
        network.weight.data += 1
        average.renew(step)
        seen.append(average.state()["weight"].item())
    # renewals after steps 1, 3 and 5, of weights 3, 5 and 7; decays 1/10, 2/11 but at most 0.15, 0.15
    first = 0.1 * 1 + 0.9 * 3
    second = 0.15 * first + 0.85 * 5
    assert seen == pytest.approx([1, first, first, second, second, 0.15 * second + 0.85 * 7])


def test_inside_the_network_has_the_average_and_outside_its_own_weights():
    network = torch.nn.Linear(2, 2)
    average = WeightAverage(network, 0.5, interval=1)
    before, held = network.weight.detach().clone(), network.weight.data_ptr()
    network.weight.data += 1
    with average.in_place():
        assert torch.equal(network.weight, before)
    assert torch.equal(network.weight, before + 1)
    assert network.weight.data_ptr() == held


def test_what_is_measured_and_kept_is_the_average(tmp_path, monkeypatch):
    made: list[WeightAverage] = []

    def make(*options: Any) -> WeightAverage:
        made.append(WeightAverage(*options))
        return made[-1]

    monkeypatch.setattr(training_run, "WeightAverage", make)
    student, recorder = run(tmp_path, AVERAGED)
    kept = torch.load(tmp_path / "student.pt", weights_only=True)
    average = made[0].state()
    assert equal(average, {name: kept[name] for name in average})
    raw = student.state_dict()
    assert not torch.equal(raw["classifier.weight"], kept["classifier.weight"])
    assert torch.equal(raw["norm.running_mean"], kept["norm.running_mean"])
    measured = fresh()
    measured.load_state_dict(kept)
    dataset = tiny.dataset()
    assert recorder.seen[4]["val_loss"] == evaluate(measured, dataset, dataset.validation, AVERAGED)[1]
    assert recorder.seen[4]["test_accuracy"] == evaluate(measured, dataset, dataset.test, AVERAGED)[0]


def test_training_itself_is_that_without_an_average(tmp_path):
    plain, _ = run(tmp_path / "plain", Recipe(epochs=4, batch_size=16, lr=0.1))
    averaged, _ = run(tmp_path / "averaged", AVERAGED)
    assert equal(plain.state_dict(), averaged.state_dict())


RICH = Recipe(
    epochs=4,
    batch_size=16,
    lr=0.01,
    optimizer="lamb",
    ema=0.95,
    ema_steps=4,
    decay_norms=False,
    augment="random-resized-crop",
    policy="trivial",
    erasing=0.3,
    repeats=2,
    clip_norm=1.0,
)


@pytest.mark.parametrize("recipe", [AVERAGED, RICH])
@pytest.mark.parametrize("stop", [1, 3])
def test_a_stopped_run_continues_to_the_same_bits(tmp_path, monkeypatch, recipe, stop):
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    unbroken, whole = run(tmp_path / "unbroken", recipe)
    with pytest.raises(StopTrial):
        run(tmp_path / "broken", recipe, stop=stop)
    continued, rest = run(tmp_path / "broken", recipe)
    assert equal(unbroken.state_dict(), continued.state_dict())
    assert timeless(whole) == timeless(rest)
    for name in ("student.pt", "student_best.pt"):
        saved = [torch.load(tmp_path / folder / name, weights_only=True) for folder in ("unbroken", "broken")]
        assert equal(*saved)
