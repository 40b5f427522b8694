"""What kind of students a search will propose, before it has: how large they are, and some of that size."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from automl_kd.experiment.context import ExperimentContext
from automl_kd.space import Architecture, sample_architecture

SAMPLED = 300
"""Random architectures whose cost tells that of what is searched."""

LEAST_SIZE = 0.1


class SearchedStudents(NamedTuple):
    """`size`: multiply-adds of a typical one over those of the default. `nearest`: all drawn, the nearest first."""

    size: float
    nearest: list[Architecture]


def searched_students(context: ExperimentContext) -> SearchedStudents:
    """Of what is drawn at random and is within the limits: the mean, or of the largest in a pool that is filtered by
    multiply-adds.
    """
    search, rng = context.experiment.search, np.random.default_rng(context.experiment.seed)
    drawn = [sample_architecture(context.space, rng) for _ in range(SAMPLED)]
    macs = {one: context.cost(one).macs for one in drawn if context.within_budget(one)}
    if not macs:
        return SearchedStudents(1.0, [context.baseline])
    counts = [*macs.values()]
    typical = float(np.quantile(counts, 1 - 1 / search.pool) if "macs" in search.proxy_filter else np.mean(counts))
    nearest = sorted(macs, key=lambda one: abs(macs[one] - typical))
    return SearchedStudents(max(LEAST_SIZE, typical / context.cost(context.baseline).macs), nearest)
