"""Scores many architectures of one space: networks are assembled from cached parts, equal functions are scored once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import nn

from automl_kd import space as spaces
from automl_kd.errors import ConfigError
from automl_kd.memory import keep_freed_memory
from automl_kd.models import build
from automl_kd.models.costs.cost import cost_of
from automl_kd.models.fast_norm import quicken
from automl_kd.models.foreign.layout import keep_contiguous, lay_out
from automl_kd.models.foreign.onednn import must_stay_contiguous
from automl_kd.proxies import expand_proxies, proxy_entry
from automl_kd.proxies.base import OfCost, ProxyEntry
from automl_kd.proxies.initialisation import normal_weights
from automl_kd.proxies.probe import Probe, without_dropout
from automl_kd.proxies.readings import Pending, Reading, measure_student, settle_readings
from automl_kd.seeds import derive
from automl_kd.space import Architecture, SearchSpace

Readings = list[dict[str, Reading]]
"""For one architecture: a reading by proxy name for every draw."""

AHEAD = 32
"""How many students an accelerator may be given before its readings are fetched."""


class Scorer:
    """All that scoring needs and that is the same for all architectures. One thread's; nothing in it is shared.

    Raises as `score` does.
    """

    def __init__(self, space: SearchSpace, proxies: Sequence[str], probes: Sequence[Probe], *, seed: int) -> None:
        entries = {name: proxy_entry(name) for name in expand_proxies(proxies)}
        check_probes(entries, probes)
        keep_freed_memory()
        self.space, self.probes, self.seed = space, probes, seed
        self.counts = {name: one.proxy for name, one in entries.items() if isinstance(one.proxy, OfCost)}
        self.looks = {name: one for name, one in entries.items() if name not in self.counts}
        self.makers = {
            (draw, initialisation): student_maker(space, probe, initialisation, (seed, draw))
            for draw, probe in enumerate(probes)
            for initialisation in dict.fromkeys(one.initialisation for one in self.looks.values())
        }
        self.known: dict[Architecture, Readings] = {}

    def function_of(self, architecture: Architecture) -> Architecture:
        """The point that stands for all those that compute the same function at initialisation."""
        canonical = self.space.canonical
        return architecture if canonical is None else Architecture.of(canonical(architecture.as_dict()))

    def __call__(self, architectures: Sequence[Architecture]) -> list[Readings]:
        """Readings of each. What was read before, of it or of its like, is remembered."""
        for architecture in architectures:
            spaces.check_architecture(self.space, architecture)
        stand_ins = [self.function_of(one) for one in architectures]
        self.learn(stand_ins)
        return [
            [{**self.counted(one), **reading} for reading in self.known[stand_in]]
            for one, stand_in in zip(architectures, stand_ins, strict=True)
        ]

    def learn(self, stand_ins: Sequence[Architecture]) -> None:
        """Read those that are not known yet."""
        pending: dict[Architecture, list[dict[str, Pending]]] = {}
        for one in dict.fromkeys(stand_ins):
            if one not in self.known:
                pending[one] = [self.read(one, draw) for draw in range(len(self.probes))]
            # On the processor nothing is gained by waiting, and memory by not.
            if len(pending) == (AHEAD if self.probes[0].images.is_cuda else 1):
                self.fetch(pending)
        self.fetch(pending)

    def fetch(self, pending: dict[Architecture, list[dict[str, Pending]]]) -> None:
        settled = iter(settle_readings([draw for draws in pending.values() for draw in draws]))
        self.known |= {one: [next(settled) for _ in draws] for one, draws in pending.items()}
        pending.clear()

    def read(self, architecture: Architecture, draw: int) -> dict[str, Pending]:
        """All that look at a student, which is made once for each initialisation."""
        found: dict[str, Pending] = {}
        for initialisation in dict.fromkeys(one.initialisation for one in self.looks.values()):
            student = self.makers[draw, initialisation](architecture)
            wanted = {name: one for name, one in self.looks.items() if one.initialisation == initialisation}
            found |= measure_student(wanted, student, self.probes[draw], derive("proxy", self.seed, draw))
        return found

    def counted(self, architecture: Architecture) -> dict[str, Reading]:
        if not self.counts:
            return {}
        begun = time.perf_counter()
        cost = cost_of(self.space, architecture, self.probes[0].shape)
        seconds = time.perf_counter() - begun
        return {name: Reading(proxy.measure(cost), seconds) for name, proxy in self.counts.items()}


def student_maker(
    space: SearchSpace, probe: Probe, initialisation: str, stream: tuple[int, int]
) -> Callable[[Architecture], nn.Module]:
    """What makes students in training mode, with weights that depend on `stream` and their names only."""
    if space.part_cache is None:
        return Builder(space, probe, initialisation, stream)
    assemble = space.part_cache(probe.shape, partial(draw_part, probe.images.device, initialisation, stream))
    return lambda architecture: assemble(architecture.as_dict())


class Builder:
    """Builds each student anew. The first that may try shows whether those of a space run with channels last."""

    def __init__(self, space: SearchSpace, probe: Probe, initialisation: str, stream: tuple[int, int]) -> None:
        self.space, self.probe, self.initialisation, self.stream = space, probe, initialisation, stream
        self.channels_last: bool | None = None

    def __call__(self, architecture: Architecture) -> nn.Module:
        student = build(self.space, architecture, self.probe.shape, seed=derive("student", *self.stream))
        self.lay_out(student.to(self.probe.images.device))
        if self.initialisation == "normal":
            normal_weights(student, "student", *self.stream)
        if self.probe.of_tokens:  # where it follows every layer, a score would be partly chance
            without_dropout(student)
        return student.train()

    def lay_out(self, student: nn.Module) -> None:
        if self.channels_last is False or must_stay_contiguous(student, self.probe.shape):
            keep_contiguous(student, self.probe.shape)
        elif self.channels_last:
            student.to(memory_format=torch.channels_last)
        else:
            self.channels_last = lay_out(student, self.probe.shape, torch.channels_last)


def draw_part(
    device: torch.device, initialisation: str, stream: tuple[int, int], name: str, make: Callable[[], nn.Module]
) -> nn.Module:
    """A cached part, from a stream of random numbers named after it. Its batch norm keeps no statistics."""
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(derive("student", *stream, name))
        made = make()
    if initialisation == "normal":
        normal_weights(made, "student", *stream, prefix=name)
    for module in made.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.track_running_stats = False
            module.running_mean = module.running_var = module.num_batches_tracked = None
    quicken(made)
    return made.to(device).to(memory_format=torch.channels_last).train()


def check_probes(entries: Mapping[str, ProxyEntry], probes: Sequence[Probe]) -> None:
    if not probes:
        raise ConfigError("scoring got no probe, and needs one for each repeat; give at least one")
    needy = [name for name, member in entries.items() if member.needs_teacher]
    if needy and any(probe.teacher is None for probe in probes):
        raise ConfigError(
            f"proxy {needy[0]!r} compares students with a teacher, and a probe has none; "
            "name a teacher or leave this proxy out"
        )
