"""How many trials fit: each worker is on one machine, and its share of a GPU on one GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from automl_kd.config import Resources

Machine = Mapping[str, float]
"""What a machine has, or a worker is given, under Ray's own names: "CPU", "GPU"."""

RESOURCE_ROUNDING = 1e-6
"""In floating point 0.3 / 0.1 lies below 3."""


def fit(each: Machine, machines: Sequence[Machine], workers: int = 1) -> int:
    """How many trials of so many workers have room at once; the workers of one may lie on several machines."""
    return sum(places(each, machine) for machine in machines) // workers


def places(each: Machine, machine: Machine) -> int:
    """How many workers fit on a machine: as many as the scarcer of CPUs and GPUs allows."""
    cpus = whole(machine.get("CPU", 0) / each["CPU"])
    gpus = each.get("GPU", 0)
    return min(cpus, places_on_cards(gpus, machine.get("GPU", 0))) if gpus else cpus


def places_on_cards(gpus: float, cards: float) -> int:
    """`gpus`: whole, or a share of one GPU, which does not span two."""
    if gpus >= 1:
        return whole(cards / gpus)
    return whole(cards) * whole(1 / gpus) + whole((cards - whole(cards)) / gpus)


def whole(number: float) -> int:
    return int(number + RESOURCE_ROUNDING)


def no_room(resources: Resources, each: Machine, machines: Sequence[Machine]) -> str:
    """A sentence about a trial for which there is no room on `machines`."""
    several = resources.workers > 1
    who = f"each of the {resources.workers} workers of a trial" if several else "a trial"
    asked = f"{who} asks for {amounts(each)}"
    fitting = sum(places(each, machine) for machine in machines)
    if len(machines) == 1:
        have = f"Ray has {amounts(machines[0])}"
    elif fitting:
        have = f"Ray has room for {fitting} of them on {len(machines)} machines"
    else:
        have = f"no machine has as many: {described(machines)}"
    lower = f"{'trial.workers, ' if several else ''}trial.cpus or trial.gpus"
    return f"{asked}, but {have}; lower {lower}, or set trial.device"


def described(machines: Sequence[Machine]) -> str:
    """What machines have, the most frequent kind first."""
    kinds = [amounts(machine) for machine in machines]
    counts = {kind: kinds.count(kind) for kind in kinds}
    phrases = [f"{count} with {kind}" for kind, count in sorted(counts.items(), key=lambda item: -item[1])]
    return ", ".join(phrases) or "there is none yet"


def amounts(machine: Machine, times: int = 1) -> str:
    """As "1 CPU and 0.5 GPUs"."""
    cpus, gpus = times * machine.get("CPU", 0), times * machine.get("GPU", 0)
    return f"{cpus:g} CPU{'' if cpus == 1 else 's'} and {gpus:g} GPU{'' if gpus == 1 else 's'}"
