"""How long one forward pass takes, measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import quantiles

import torch
from torch import Tensor, nn

from automl_kd.models.costs.cost import blank_inputs
from automl_kd.models.foreign.copying import copy_network
from automl_kd.space import InputShape

FEWEST_RUNS = 5
"""Below this a median is unreliable; slow networks overrun their budget instead."""


@dataclass(frozen=True)
class LatencyMeasurement:
    """`ms`: median time of a forward pass of `batch` images; `iqr_ms`: from the first quartile to the third.

    `threads`: torch's threads on the processor. `runs`: passes that were timed, after warm-up.
    """

    ms: float
    iqr_ms: float
    batch: int
    threads: int
    device: str
    runs: int


def measure_latency(
    model: nn.Module, shape: InputShape, *, device: str = "cpu", batch: int = 1, budget_seconds: float = 0.3
) -> LatencyMeasurement:
    """Time a copy of `model` on `device`, in evaluation mode and without autograd; the model itself is not touched.

    A fifth of the budget warms up, the rest is timed. Includes neither the copying of images to the device nor that
    of logits from it. `budget_seconds` and `batch` are positive.
    """
    if batch < 1 or budget_seconds <= 0:
        raise ValueError(f"latency needs a batch and a budget above 0, got {batch} and {budget_seconds}")
    student = copy_network(model).to(device).eval()
    images = blank_inputs(student, shape, batch)
    timer = time_on_cuda if images.is_cuda else time_on_host
    with torch.inference_mode():
        repeat_passes(timer, student, images, budget_seconds / 5, fewest=2)
        times = repeat_passes(timer, student, images, budget_seconds * 4 / 5, fewest=FEWEST_RUNS)
    low, median, high = quantiles(times, n=4)
    return LatencyMeasurement(
        ms=median,
        iqr_ms=high - low,
        batch=batch,
        threads=torch.get_num_threads(),
        device=str(images.device),
        runs=len(times),
    )


def repeat_passes(
    timer: Callable[[nn.Module, Tensor], float], model: nn.Module, images: Tensor, seconds: float, *, fewest: int
) -> list[float]:
    """Milliseconds of as many passes as fit into `seconds`, at least `fewest`."""
    times: list[float] = []
    end = time.monotonic() + seconds
    while len(times) < fewest or time.monotonic() < end:
        times.append(timer(model, images))
    return times


def time_on_host(model: nn.Module, images: Tensor) -> float:
    start = time.monotonic()
    model(images)
    return 1e3 * (time.monotonic() - start)


def time_on_cuda(model: nn.Module, images: Tensor) -> float:
    """Between two events on the device's own clock; waits for the second."""
    with torch.cuda.device(images.device):
        start, end = torch.Event(images.device, enable_timing=True), torch.Event(images.device, enable_timing=True)
        start.record()
        model(images)
        end.record()
        end.synchronize()
    return start.elapsed_time(end)
