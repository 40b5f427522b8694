from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from automl_kd.models.costs.latency import FEWEST_RUNS, measure_latency
from automl_kd.space import InputShape

SHAPE = InputShape(1, 8, 8, 10)


class Sleeper(nn.Module):
    """Takes 1/256 s a pass, and a quarter on its first: what a warm-up is for. Notes how it was called."""

    calls: ClassVar[list[tuple[tuple[int, ...], bool, bool]]] = []

    def __init__(self, sleep: Callable[[float], object] = time.sleep) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.cold, self.sleep = True, sleep

    def forward(self, x: Tensor) -> Tensor:
        self.calls.append((tuple(x.shape), self.training, torch.is_inference_mode_enabled()))
        self.sleep(1 / 4 if self.cold else 1 / 256)
        self.cold = False
        return x


class Clock:
    """Goes on only while somebody sleeps, so that what is measured is known whatever else the machine does."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def __deepcopy__(self, _memo: object) -> Clock:
        return self


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("automl_kd.models.costs.latency.time", clock)
    return clock


def test_a_network_of_known_speed(clock):
    # of 1.25 s a fifth warms up, which the first pass takes and the second overruns; 256 passes fit into the rest
    latency = measure_latency(Sleeper(clock.sleep), SHAPE, budget_seconds=1.25)
    assert (latency.ms, latency.iqr_ms, latency.runs) == (1000 / 256, 0.0, 256)
    assert (latency.batch, latency.threads, latency.device) == (1, torch.get_num_threads(), "cpu")


def test_a_slow_network_is_still_warmed_up_and_run_often_enough(clock):
    latency = measure_latency(Sleeper(clock.sleep), SHAPE, budget_seconds=0.001)
    # Among five runs the cold one would put half of its 250 ms into the third quartile.
    assert (latency.runs, latency.iqr_ms) == (FEWEST_RUNS, 0.0)


def test_by_the_real_clock():
    latency = measure_latency(Sleeper(), SHAPE, budget_seconds=0.01)
    assert latency.ms >= 1000 / 256  # a busy machine sleeps longer, none shorter
    assert latency.iqr_ms >= 0.0


def test_batch_mode_and_autograd():
    Sleeper.calls.clear()
    measure_latency(Sleeper(), SHAPE, batch=3, budget_seconds=0.01)
    assert set(Sleeper.calls) == {((3, 1, 8, 8), False, True)}


def test_the_model_is_not_touched():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).double()
    model[0].eval()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    measure_latency(model, SHAPE, budget_seconds=0.01)
    assert [module.training for module in model.modules()] == [True, False, True]
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(("batch", "seconds"), [(0, 1.0), (1, 0.0)])
def test_senseless_arguments(batch, seconds):
    with pytest.raises(ValueError, match="above 0"):
        measure_latency(nn.Linear(1, 1), SHAPE, batch=batch, budget_seconds=seconds)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda():
    latency = measure_latency(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), SHAPE, device="cuda")
    assert latency.ms > 0.0
    assert latency.device.startswith("cuda")
