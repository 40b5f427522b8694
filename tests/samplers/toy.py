"""Spaces and outcomes for tests of samplers; nothing here trains."""

from __future__ import annotations

from torch import nn

from automl_kd.samplers import Sampler
from automl_kd.space import (
    Architecture,
    Choice,
    FloatRange,
    InputShape,
    IntRange,
    Parameter,
    SearchSpace,
    Values,
    When,
)
from automl_kd.spec import Outcome


def build(values: Values, task: InputShape) -> nn.Module:
    return nn.Identity()


MIXED = SearchSpace(
    name="mixed",
    source="every kind of domain, with conditions two levels deep",
    parameters={
        "only": Parameter(Choice((7,))),
        "kind": Parameter(Choice(("plain", "wide", "deep"))),
        "width": Parameter(IntRange(3, 10, step=4), When("kind", ("wide", "deep"))),
        "bias": Parameter(Choice((True, False)), When("width", (7,))),
        "rate": Parameter(FloatRange(1e-4, 1e-1, log=True)),
        "drop": Parameter(FloatRange(0.0, 0.5), When("kind", ("plain",))),
    },
    build=build,
    default={"only": 7, "kind": "plain", "rate": 1e-3, "drop": 0.0},
)

SEPARABLE = SearchSpace(
    name="separable",
    source="three parameters that contribute independently, best at kind f, depth 11, rate 0.3",
    parameters={
        "kind": Parameter(Choice(tuple("abcdefgh"))),
        "depth": Parameter(IntRange(1, 16)),
        "rate": Parameter(FloatRange(0.0, 1.0)),
    },
    build=build,
    default={"kind": "a", "depth": 1, "rate": 0.5},
)

BITS = SearchSpace(
    name="bits",
    source="eight points",
    parameters={name: Parameter(Choice((0, 1))) for name in "abc"},
    build=build,
    default={"a": 0, "b": 0, "c": 0},
)


def distance(architecture: Architecture) -> float:
    """0 at the best point of `SEPARABLE`, up to 3."""
    kind, depth, rate = (architecture.as_dict()[name] for name in ("kind", "depth", "rate"))
    assert isinstance(depth, int)
    assert isinstance(rate, float)
    return abs("abcdefgh".index(str(kind)) - 5) / 5 + abs(depth - 11) / 10 + abs(rate - 0.3) / 0.7


def bits(a: int, b: int, c: int) -> Architecture:
    return Architecture.of({"a": a, "b": b, "c": c})


def ones(architecture: Architecture) -> float:
    """How many bits are set in a point of `BITS`."""
    return float(sum(value == 1 for _, value in architecture.values))


def complete(**metrics: float) -> Outcome:
    return Outcome(status="complete", metrics=metrics, epoch=10)


def stopped(epoch: int, **metrics: float) -> Outcome:
    return Outcome(status="stopped", metrics=metrics, epoch=epoch)


FAILED = Outcome(status="failed", metrics={}, epoch=0, error="out of memory")


def rate_loss(architecture: Architecture) -> float:
    """For `MIXED`: less is better, best for wide networks with a small rate."""
    values = architecture.as_dict()
    return float(values["rate"]) + (values["kind"] != "wide")


def search(sampler: Sampler, trials: int) -> list[Architecture]:
    """What a search of `MIXED` proposes, one trial after the other, with a failed and a stopped one now and then."""
    proposals = []
    for index in range(trials):
        architecture = sampler.ask(index)
        outcome = complete(loss=rate_loss(architecture))
        if index % 7 == 3:
            outcome = FAILED
        if index % 7 == 5:
            outcome = stopped(1 + index % 3, loss=rate_loss(architecture))
        sampler.tell(index, architecture, outcome)
        proposals.append(architecture)
    return proposals
