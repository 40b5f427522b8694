"""What proxies cost together: over one bare pass, over each of them alone, and over plain code that shares nothing.

Students are random connected cells of NAS-Bench-201 (C = 16, N = 5), the batch 64 noise images of CIFAR's size in 10
classes, the teacher a random ResNet-110, all on one thread. Run it from the project's root:
`python -m benchmarks.perf.proxies.part_cache`.

- *bare*: forward and backward of the cross entropy, all weights' gradients, of the network that a bank assembled.
- *one loss*: the proxies that read this backward pass (`ONE_LOSS`), on the same network.
- *together*, *alone*: all proxies of the table that look at a student but `SLOW`, each of which costs more than one
  forward and backward pass and shares none; all at once, and one after the other, each with a network assembled for
  it. What is shared in both but is no pass, such as the weights of a bank, is drawn before the clock runs.
- *plain*, *handful*: ten formulas as one would first write them, each building its network, running its own passes and
  restoring nothing; and the same ten through the bank.

Plain values are checked on the bank's own weights, outside the clock: within 1e-4 of the larger of value and 1.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import nn

from automl_kd.models import build, build_model
from automl_kd.proxies import PROXIES
from automl_kd.proxies.base import OfCost, ProxyEntry
from automl_kd.proxies.probe import Probe, make_probe
from automl_kd.proxies.readings import Reading, measure_student, settle_readings
from automl_kd.proxies.scorer import Scorer
from automl_kd.space import Architecture, InputShape
from benchmarks.perf.alternation import Comparison, alternate, markdown, milliseconds
from benchmarks.perf.proxies.diswot import draw
from benchmarks.perf.proxies.plain import PLAIN
from search_spaces import nasbench201

SHAPE = InputShape(channels=3, height=32, width=32, classes=10)
BATCH, TEACHER, SEED = 64, "resnet110", 0
ONE_LOSS = ("grad_norm", "plain", "snip", "fisher")
SLOW = ("grasp", "ntk_condition", "vkdnw")
TOLERANCE = 1e-4

Initialisation = Literal["default", "normal"]

COMPARISONS = (
    Comparison("one loss", "bare", limit=1.3),
    Comparison("together", "alone", limit=1 / 3),
    Comparison("handful", "plain", limit=1 / 5),
)


@dataclass(frozen=True)
class Bench:
    """Scoring as `score` does it, step by step."""

    scorer: Scorer
    probe: Probe
    architectures: Sequence[Architecture]

    def student(self, number: int, initialisation: Initialisation = "default") -> nn.Module:
        return self.scorer.makers[0, initialisation](self.architectures[number])

    def read(self, names: Sequence[str], number: int) -> dict[str, Reading]:
        """All of `names` on one architecture, with a network for each initialisation."""
        found: dict[str, Reading] = {}
        for initialisation in dict.fromkeys(PROXIES[name].initialisation for name in names):
            entries = {name: PROXIES[name] for name in names if PROXIES[name].initialisation == initialisation}
            (readings,) = settle_readings(
                [measure_student(entries, self.student(number, initialisation), self.probe, SEED)]
            )
            found |= readings
        return found

    def alone(self, names: Sequence[str], number: int) -> None:
        for name in names:
            self.read([name], number)

    def bare(self, number: int) -> None:
        student = self.student(number)
        loss = nn.functional.cross_entropy(student(self.probe.images), self.probe.labels)
        torch.autograd.grad(loss, list(student.parameters()), allow_unused=True)

    def plain(self, number: int) -> None:
        """As a script would: images and weights in torch's usual layout, a network for each proxy."""
        images, labels = self.probe.images.contiguous(), self.probe.labels
        for compute in PLAIN.values():
            student = build(nasbench201.SPACE, self.architectures[number], SHAPE, seed=SEED)
            compute(student.train(), images, labels)


def looking() -> tuple[str, ...]:
    """The proxies that look at a student, but the slow ones."""
    entries: Mapping[str, ProxyEntry] = PROXIES
    return tuple(name for name, one in entries.items() if not isinstance(one.proxy, OfCost) and name not in SLOW)


def check(bench: Bench, number: int) -> None:
    """Plain code and the bank agree on the bank's networks."""
    readings = bench.read(tuple(PLAIN), number)
    for name, compute in PLAIN.items():
        theirs, ours = compute(bench.student(number), bench.probe.images, bench.probe.labels), readings[name]
        assert not ours.error, f"{name}: {ours.error}"
        difference = abs(theirs - ours.value) / max(1.0, abs(theirs))
        assert difference <= TOLERANCE, f"{name}: plain {theirs}, ours {ours.value}"


def make_bench(count: int) -> Bench:
    generator = torch.Generator().manual_seed(SEED)
    images = torch.randn(BATCH, SHAPE.channels, SHAPE.height, SHAPE.width, generator=generator)
    labels = torch.randint(SHAPE.classes, (BATCH,), generator=generator)
    probe = make_probe(images, labels, SHAPE, build_model(TEACHER, SHAPE), seed=SEED)
    scorer = Scorer(nasbench201.SPACE, looking(), [probe], seed=SEED)
    bench = Bench(scorer, probe, draw(nasbench201.SPACE, count))
    for number in range(count):
        for _, initialisation in scorer.makers:
            bench.student(number, initialisation)  # draws the weights of its parts
    return bench


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="architectures that count (default: 7)")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    bench, names = make_bench(rounds + 1), looking()
    steps: dict[str, Callable[[int], object]] = {
        "bare": bench.bare,
        "one loss": partial(bench.read, ONE_LOSS),
        "together": partial(bench.read, names),
        "alone": partial(bench.alone, names),
        "plain": bench.plain,
        "handful": partial(bench.read, tuple(PLAIN)),
    }
    spent = alternate(steps, rounds=rounds)
    for number in range(rounds):
        check(bench, number)
    print(f"{len(names)} proxies together and alone: {', '.join(names)}")
    print(f"the handful: {', '.join(PLAIN)}")
    print(markdown(spent, COMPARISONS))
    print(milliseconds(spent))


if __name__ == "__main__":
    main()
