"""Scores of proxies for one student in one repeat: shared passes, separate errors, and each proxy's seconds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from automl_kd.errors import AutoMLKDError
from automl_kd.proxies.base import OfCost, ProxyEntry, Shared
from automl_kd.proxies.clock import Instant, instant, seconds_between
from automl_kd.proxies.guard import untouched
from automl_kd.proxies.passes import Passes, seeded_generators
from automl_kd.proxies.probe import Probe


@dataclass(frozen=True)
class Reading:
    """One draw of one proxy on one architecture; `value` is nan if there is an `error`.

    `seconds`: what the proxy takes by itself, its own arithmetic and the whole of each pass that it reads, although
    it may have shared that.
    """

    value: float
    seconds: float
    error: str = ""


@dataclass(frozen=True, eq=False)
class Pending:
    """A reading for which an accelerator may still be at work. `used`: the times of the passes read, `ran`: which of
    them ran within `span`.
    """

    value: Tensor | float
    error: str
    span: tuple[Instant, Instant]
    used: Sequence[tuple[Instant, Instant]] = ()
    ran: Sequence[tuple[Instant, Instant]] = ()

    def reading(self, value: float) -> Reading:
        seconds = seconds_between(*self.span)
        seconds += sum(seconds_between(*one) for one in self.used) - sum(seconds_between(*one) for one in self.ran)
        if self.error or not math.isfinite(value):
            return Reading(math.nan, seconds, self.error or f"the proxy returned {value}, which cannot be ranked")
        return Reading(value, seconds)


def settle_readings(pending: Sequence[Mapping[str, Pending]]) -> list[dict[str, Reading]]:
    """Readings of several students. Values that lie on an accelerator come over in one transfer."""
    waiting = [one for group in pending for one in group.values()]
    tensors = [one.value.detach().double().reshape(()) for one in waiting if isinstance(one.value, Tensor)]
    fetched = iter(torch.stack(tensors).tolist() if tensors else [])
    values = iter([next(fetched) if isinstance(one.value, Tensor) else one.value for one in waiting])
    return [{name: one.reading(next(values)) for name, one in group.items()} for group in pending]


def measure_student(
    entries: Mapping[str, ProxyEntry], student: nn.Module, probe: Probe, seed: int
) -> dict[str, Pending]:
    """Scores of `entries` for one student, without those that count costs.

    `seed`: of all randomness. The student is left as it was, bit for bit.
    """
    shared = {name: one.proxy for name, one in entries.items() if isinstance(one.proxy, Shared)}
    found: dict[str, Pending] = {}
    if shared:
        sees = {sight for one in shared.values() for sight in one.sees}
        passes = Passes(student, probe, sees, seed=seed)
        with statistics_kept(student):
            found = {name: look(one, passes) for name, one in shared.items()}
    for name, one in entries.items():
        if name not in shared:
            found[name] = read_in_isolation(one, student, probe, seed)
    return found


def look(proxy: Shared, passes: Passes) -> Pending:
    """A shared proxy's value, and which passes it used and ran."""
    device, known = passes.probe.images.device, set(passes.times)
    passes.used.clear()
    begun = instant(device)
    with torch.no_grad(), seeded_generators(device, passes.seed):
        value, error = attempt_reading(lambda: proxy.measure(passes))
    span = (begun, instant(device))
    times = passes.times
    used = [times[name] for name in passes.used if name in times]
    return Pending(value, error, span, used, [times[name] for name in times if name not in known])


def read_in_isolation(entry: ProxyEntry, student: nn.Module, probe: Probe, seed: int) -> Pending:
    """The value of a proxy that may do with the student as it likes."""
    proxy, device = entry.proxy, probe.images.device
    assert not isinstance(proxy, OfCost)
    begun = instant(device)
    with untouched(student), torch.inference_mode(not entry.needs_gradient), seeded_generators(device, seed):
        value, error = attempt_reading(lambda: proxy(student, probe))
    return Pending(value, error, (begun, instant(device)))


def attempt_reading(compute: Callable[[], Tensor | float]) -> tuple[Tensor | float, str]:
    """The value, or nan and the reason why there is none."""
    try:
        return compute(), ""
    except AutoMLKDError as error:
        return math.nan, str(error)
    except Exception as error:  # one student's fault must not end the scoring of a thousand others
        return math.nan, f"{type(error).__name__}: {error}"


@contextmanager
def statistics_kept(student: nn.Module) -> Iterator[None]:
    """A pass in training mode moves the running statistics of batch normalisation; they are put back."""
    kept = [(buffer, buffer.clone()) for buffer in student.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, values in kept:
                buffer.copy_(values)
