"""Every sampler that learns gets nearer to the best point than random search does with as many trials."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from automl_kd.samplers import SAMPLERS, SearchObjective, make_sampler
from automl_kd.space import Scalar
from tests.samplers.toy import SEPARABLE, complete, distance

SMALL: dict[str, dict[str, Scalar]] = {"evolution": {"population": 10}, "nsga2": {"population": 10}}


def nearest(name: str, seed: int, trials: int) -> float:
    options = SMALL.get(name, {})
    sampler = make_sampler(name, SEPARABLE, objectives=[SearchObjective.parse("-loss")], seed=seed, options=options)
    losses = []
    for index in range(trials):
        architecture = sampler.ask(index)
        losses.append(distance(architecture))
        sampler.tell(index, architecture, complete(loss=losses[-1]))
    return min(losses)


@cache
def mean_nearest(name: str) -> float:
    return float(np.mean([nearest(name, seed, trials=45) for seed in range(10)]))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "random"])
def test_nearer_than_random_search(name):
    assert mean_nearest(name) < 0.75 * mean_nearest("random")
