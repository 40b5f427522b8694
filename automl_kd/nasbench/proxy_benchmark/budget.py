"""What a proxy is worth at equal size: regret of its picks within a budget, and correlation inside bins of a budget.

A proxy may correlate with accuracy because large networks are better and it grows with size. Inside a bin of equal
size that helps nothing. Regret: how far the accuracy of what it would pick lies below the best of all it could pick.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from automl_kd.nasbench.proxy_benchmark.rank_correlation import kendall
from automl_kd.nasbench.proxy_benchmark.scores import Reals

SHARES = (0.25, 0.5, 0.75, 1.0)
"""Budgets, as quantiles of the cost over all architectures in question; 1 is no limit."""

PICKS = (1, 10)
BINS, LEAST = 10, 16
"""As many bins, but never so many that one would hold fewer than `LEAST` architectures if costs were all different."""


class Regret(NamedTuple):
    """Accuracies are fractions, `limit` is in the unit of the cost.

    `top1`, `top10`: regret of the first pick, and of the best of the first ten, as `expected_best` expects them.
    """

    cost: str
    share: float
    limit: float
    candidates: int
    best: float
    top1: float
    top10: float


def regrets(scores: Reals, accuracy: Reals, costs: Mapping[str, Reals]) -> Iterator[Regret]:
    """For each cost and budget. `scores`: (seeds, n), regrets are means over seeds; a cost that is NaN is over any."""
    for cost, amount in costs.items():
        limits = np.nanquantile(amount, SHARES)
        for share, limit in zip(SHARES, limits, strict=True):
            within = amount <= limit
            best = float(accuracy[within].max())
            picks = [
                float(np.mean([expected_best(line, accuracy[within], picks) for line in scores[:, within]]))
                for picks in PICKS
            ]
            one, ten = (best - pick for pick in picks)
            yield Regret(cost, share, float(limit), int(within.sum()), best, one, ten)


def expected_best(scores: Reals, accuracy: Reals, picks: int) -> float:
    """The expected accuracy of the best among the `picks` highest scores, equal scores being taken in random order."""
    picks = min(picks, len(scores))
    threshold = np.partition(scores, -picks)[-picks]
    sure, tied = accuracy[scores > threshold], np.sort(accuracy[scores == threshold])[::-1]
    drawn = picks - len(sure)
    left = len(tied) - np.arange(len(tied))
    # That the best of those drawn is number j: the j before it are all left out, and it is among the drawn.
    out = np.concatenate([[1.0], np.cumprod(1 - drawn / left)[:-1].clip(0)])
    chance = out * np.minimum(drawn / left, 1.0)
    return float(chance @ np.maximum(tied, sure.max(initial=-np.inf)))


def matched(scores: Reals, accuracy: Reals, cost: Reals) -> tuple[float, int]:
    """The median of Kendall's tau-b inside bins of about equal cost, mean over seeds, and the number of bins it is of.

    `scores`: (seeds, n). Bins are bounded by quantiles; equal costs share one. Where scores are all equal there is no
    correlation, and the bin is left out; NaN if all are.
    """
    bins = max(1, min(BINS, len(cost) // LEAST))
    edges = np.unique(np.quantile(cost, np.arange(1, bins) / bins))
    place = np.searchsorted(edges, cost, side="left")
    members = [np.flatnonzero(place == number) for number in range(len(edges) + 1)]
    inside = np.array([[kendall(line[own], accuracy[own]) for own in members if len(own) > 2] for line in scores])
    known = inside[:, ~np.isnan(inside).any(axis=0)]
    return (float(np.median(known, axis=1).mean()), known.shape[1]) if known.size else (float("nan"), 0)
