"""Score architectures by proxies: draw, share, repeat and aggregate, written once for all of them.

Each draw brings its own images and its own random weights. Within a draw all architectures see the same images and
teacher, and their weights come from the same streams of random numbers, so that the comparison is of architectures as
far as it can be. What an architecture scores in a draw depends on the architecture, `seed`, the draw's number and its
probe, not on what else is scored or in which order. Architectures that a space calls the same function are measured
once, and score the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from automl_kd.proxies import aggregate_of
from automl_kd.proxies.aggregate import Aggregate
from automl_kd.proxies.probe import Probe
from automl_kd.proxies.readings import Reading
from automl_kd.proxies.scorer import Readings, Scorer
from automl_kd.space import Architecture, SearchSpace


@dataclass(frozen=True, kw_only=True)
class ProxyScore:
    """The score of an architecture under a proxy or an aggregate; higher promises better.

    `value`: mean over `draws`; nan if any draw failed, for the reason in `error`. `spread`: standard deviation over
    draws (n - 1 in the denominator), 0 for one draw. `seconds`: for all draws, what the proxy takes by itself, the
    passes that it shares included and the building of networks not; of an aggregate the sum of its members.
    """

    architecture: Architecture
    proxy: str
    value: float
    spread: float
    draws: int
    seconds: float
    error: str = ""


def score_architectures(
    space: SearchSpace,
    architectures: Sequence[Architecture],
    proxies: Sequence[str],
    probes: Sequence[Probe],
    *,
    seed: int,
    on_score: Callable[[int], None] | None = None,
    scorer: Scorer | None = None,
) -> list[ProxyScore]:
    """For each architecture in turn, its scores in the order of `proxies`; one draw for each of `probes`.

    The value of an aggregate is made of ranks within `architectures`, from which those that failed are left out.
    `on_score` receives how many architectures are done. `scorer`: one of the same arguments, for what it remembers. A
    proxy that raises or returns what is not finite spoils its own score only.

    Raises `UnknownNameError` for a name that is neither proxy nor aggregate, `ConfigError` if a proxy needs a teacher
    and a probe has none, `InfeasibleArchitectureError` for a point outside `space`.
    """
    scorer = scorer or Scorer(space, proxies, probes, seed=seed)
    readings: dict[Architecture, Readings] = {}
    for number, architecture in enumerate(architectures, 1):
        if architecture not in readings:
            (readings[architecture],) = scorer([architecture])
        if on_score is not None:
            on_score(number)
    for name in proxies:
        if (aggregate := aggregate_of(name)) is not None:
            add_aggregate(list(readings.values()), name, aggregate)
    return [summary(architecture, name, readings[architecture]) for architecture in architectures for name in proxies]


def add_aggregate(readings: Sequence[Readings], name: str, aggregate: Aggregate) -> None:
    """Add the readings of `aggregate`, under `name`, in every draw. An error in any draw is one in all."""
    members = aggregate.members
    errors = [next((draw[one].error for draw in rows for one in members if draw[one].error), "") for rows in readings]
    for draw in range(len(readings[0]) if readings else 0):
        values = np.array([[rows[draw][one].value for rows in readings] for one in members])
        values[:, [bool(error) for error in errors]] = math.nan
        for rows, value, error in zip(readings, aggregate.combine(values).tolist(), errors, strict=True):
            rows[draw][name] = Reading(value, sum(rows[draw][one].seconds for one in members), error)


def summary(architecture: Architecture, name: str, readings: Readings) -> ProxyScore:
    column = [draw[name] for draw in readings]
    values = np.array([reading.value for reading in column])
    return ProxyScore(
        architecture=architecture,
        proxy=name,
        value=float(values.mean()),
        spread=float(values.std(ddof=1)) if len(values) > 1 else 0.0,
        draws=len(values),
        seconds=sum(reading.seconds for reading in column),
        error=next((reading.error for reading in column if reading.error), ""),
    )


def rank_scores(scores: Sequence[ProxyScore]) -> list[ProxyScore]:
    """Best first, by value; equal ones by key; those that failed last. Meant for the scores of one proxy."""
    # No nan among the keys: it compares with nothing, and the order would depend on where it stood.
    return sorted(scores, key=lambda one: (math.inf if one.error else -one.value, one.architecture.key))
