"""Population-based training: the worst of a population take over the weights of the best, and try other values.

Jaderberg, Dalibard, Osindero, Czarnecki, Donahue, Razavi, Vinyals, Green, Dunning, Simonyan, Fernando, Kavukcuoglu.
Population Based Training of Neural Networks. 2017. arXiv:1711.09846, section 3.

Truncation selection: of the members, sorted by score, each of the worst share takes over one of the best share, drawn
at random. Then each value is drawn anew or multiplied by 0.8 or 1.2, within its range. All members change at the same
epoch (appendix A.1 has both this and the asynchronous way), so that what a population becomes is a function of its
seed and of what was measured, whoever trained first and however often it was broken off.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from automl_kd.samplers.base import candidate_generator
from automl_kd.space import FloatRange

FACTORS = (0.8, 1.2)
PERTURB_ATTEMPTS = 20
"""How often values are chosen again because another member has the same; then they are drawn."""

HyperparameterValues = Mapping[str, float]
Ranges = Mapping[str, FloatRange]
HyperparameterHistory = tuple[tuple[int, HyperparameterValues], ...]
"""Which values were set after how many epochs, the first after none."""

Lineage = tuple[tuple[int, int, str], ...]
"""After how many epochs whose weights were taken over: epochs, number of the member, key of the trial that it was."""


@dataclass(frozen=True)
class Member:
    """`history` and `lineage` are those of the weights it has. `alive`: False once a trial of it failed."""

    history: HyperparameterHistory
    lineage: Lineage = ()
    alive: bool = True

    @property
    def hyperparameters(self) -> HyperparameterValues:
        return self.history[-1][1]


Explore = Callable[[int, Sequence[HyperparameterValues], np.random.Generator], HyperparameterValues]
"""New values for weights of the member with that number, beside the values chosen already at this change."""


def evolve(
    members: Sequence[Member],
    scores: Sequence[float | None],
    keys: Sequence[str],
    explore: Explore,
    *,
    epoch: int,
    quantile: float,
    seed: int,
) -> list[Member]:
    """The population after the change that follows `epoch`.

    `scores`: higher is better, None of a member that failed; of equal ones the member with the lower number is better.
    `keys`: of the trials that the members are. No two members get the same course.
    """
    ranked = sorted((index for index, score in enumerate(scores) if score is not None), key=lambda i: (scores[i], -i))
    count = min(math.ceil(len(ranked) * quantile), len(ranked) // 2)
    worst, best = ranked[:count], ranked[len(ranked) - count :]
    after = [replace(one, alive=score is not None) for one, score in zip(members, scores, strict=True)]
    chosen: list[HyperparameterValues] = []
    for index in sorted(worst):
        rng = candidate_generator(seed, epoch, index)
        giver = best[int(rng.integers(count))]
        for _ in range(PERTURB_ATTEMPTS):
            hyperparameters = explore(giver, chosen, rng)
            history = (*members[giver].history, (epoch, hyperparameters))
            if all(history != one.history for one in after):
                break
        chosen.append(hyperparameters)
        after[index] = Member(history, (*members[giver].lineage, (epoch, giver, keys[giver])))
    return after


def perturb(
    hyperparameters: HyperparameterValues, ranges: Ranges, resample: float, rng: np.random.Generator
) -> dict[str, float]:
    """Each value drawn anew with the probability `resample`, else multiplied by 0.8 or 1.2 and kept in its range."""
    found = {}
    for name, domain in ranges.items():
        if rng.random() < resample:
            found[name] = draw_value(domain, rng)
        else:
            moved = hyperparameters[name] * FACTORS[int(rng.integers(len(FACTORS)))]
            found[name] = float(min(max(moved, domain.low), domain.high))
    return found


def draw_value(domain: FloatRange, rng: np.random.Generator) -> float:
    return from_unit(domain, float(rng.random()))


def to_unit(domain: FloatRange, value: float) -> float:
    """Where in its range a value lies, in [0, 1], on a logarithmic scale if the range is one."""
    low, high, value = (math.log(x) if domain.log else x for x in (domain.low, domain.high, value))
    return (value - low) / (high - low)


def from_unit(domain: FloatRange, share: float) -> float:
    low, high = (math.log(x) if domain.log else x for x in (domain.low, domain.high))
    value = low + share * (high - low)
    return float(min(max(math.exp(value) if domain.log else value, domain.low), domain.high))
