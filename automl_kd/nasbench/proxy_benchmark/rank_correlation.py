"""Rank correlations with many ties, and how far chance in the choice of architectures moves them.

Kendall. The treatment of ties in ranking problems. Biometrika 33(3), 1945: tau-b. Spearman. The proof and measurement
of association between two things. American Journal of Psychology 15(1), 1904: Pearson's correlation of mid-ranks.
Partial: the same after regressing both ranks on the ranks of what is given. Intervals: Efron. Bootstrap methods:
another look at the jackknife. Annals of Statistics 7(1), 1979: percentiles over draws of n architectures out of n with
replacement. Drawing is weighting, so a draw is a vector of counts, and both correlations are ratios of forms in it:

    tau = C / sqrt(A B),   C = sum_ij p_i p_j s(x_i - x_j) s(y_i - y_j),   p = counts / n,   A, B: C of (x, x), (y, y)
    rho = S / sqrt(U V),   S = sum_i p_i f(x_i) g(y_i),   f = F - 1/2 for the mid-distribution function F under p

Up to `EXACT` architectures each draw's forms are computed exactly. Beyond, numerators and denominators are replaced by
their first-order expansions around equal weights (Hoeffding's projections of these statistics), which is off by terms
of order 1 / n, while the half width of an interval is of order 1 / sqrt(n); the ratio itself is kept. NaN is an error:
the caller decides where a failed score ranks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]
Counts = NDArray[np.float32]

EXACT = 400


class Ranks(NamedTuple):
    """Of each value: its place among the distinct ones, and how many are smaller, and equal (itself included)."""

    code: Integers
    below: Integers
    equal: Integers

    @property
    def centred(self) -> Reals:
        """The mid-distribution function less one half: mean 0, and proportional to centred mid-ranks."""
        n = len(self.code)
        middle: Reals = (self.below + 0.5 * self.equal) / n - 0.5
        return middle


def rank_values(values: Reals) -> Ranks:
    if np.isnan(values).any():
        raise ValueError("values without an order (nan) have no ranks; replace them first")
    _, code, counts = np.unique(values, return_inverse=True, return_counts=True)
    return Ranks(code, (np.cumsum(counts) - counts)[code], counts[code])


def kendall(x: Reals, y: Reals) -> float:
    """Tau-b in [-1, 1]; NaN if either is constant."""
    a, b = rank_values(x), rank_values(y)
    return float(normalized_form(concordance(a, b).mean(), untied(a).mean(), untied(b).mean()))


def spearman(x: Reals, y: Reals) -> float:
    """Pearson's correlation of mid-ranks, in [-1, 1]; NaN if either is constant."""
    return pearson(rank_values(x).centred, rank_values(y).centred)


def partial_spearman(x: Reals, y: Reals, given: Reals) -> float:
    """Spearman's correlation of what the ranks of `given` (n, k) leave of x's and y's, by least squares.

    NaN if they leave nothing of one.
    """
    design = np.column_stack([np.ones(len(x)), *(rank_values(column).centred for column in given.T)])
    both = np.column_stack([rank_values(x).centred, rank_values(y).centred])
    rest = both - design @ np.linalg.lstsq(design, both, rcond=None)[0]
    if (rest.std(axis=0) <= 1e-9).any():  # rounding only
        return float("nan")
    return pearson(rest[:, 0], rest[:, 1])


def pearson(f: Reals, g: Reals) -> float:
    """Of two vectors with mean 0."""
    return float(normalized_form(f @ g, f @ f, g @ g))


def draws(n: int, rounds: int, seed: int) -> Counts:
    """How often each of n architectures is in each of `rounds` bootstrap samples, shape (rounds, n).

    Equal arguments give equal draws, so two statistics on the same architectures may be compared draw by draw.
    """
    rng = np.random.default_rng(seed)
    samples = (np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(rounds))
    return np.array([*samples], dtype=np.float32)


def resampled_kendall(x: Reals, y: Reals, counts: Counts) -> Reals:
    """Tau-b of each bootstrap sample, (rounds,)."""
    a, b = rank_values(x), rank_values(y)
    if len(x) <= EXACT:
        s, t = (np.sign(one.code[:, None] - one.code) for one in (a, b))
        p = counts / np.float64(len(x))
        return normalized_form(*(((p @ form) * p).sum(axis=1) for form in (s * t, s * s, t * t)))
    return normalized_form(*expand_forms(counts, [2 * concordance(a, b), 2 * untied(a), 2 * untied(b)], order=2))


def resampled_spearman(x: Reals, y: Reals, counts: Counts) -> Reals:
    """Spearman's correlation of each bootstrap sample, (rounds,)."""
    a, b = rank_values(x), rank_values(y)
    pairs = ((a, b), (a, a), (b, b))
    if len(x) > EXACT:
        return normalized_form(*expand_forms(counts, [product_gradient(one, other) for one, other in pairs], order=3))
    p = counts / np.float64(len(x))
    centred = {one: 0.5 * p @ np.sign(ours.code - ours.code[:, None]) for one, ours in enumerate((a, b))}
    return normalized_form(
        *((p * centred[one] * centred[other]).sum(axis=1) for one, other in ((0, 1), (0, 0), (1, 1)))
    )


def expand_forms(counts: Counts, gradients: list[Reals], order: int) -> list[Reals]:
    """First-order expansions around equal weights of forms of this order, from their gradients there.

    Such a form is homogeneous of degree `order`, so its value there is the mean of its gradient divided by that.
    """
    means = [float(gradient.mean()) for gradient in gradients]
    deviations = np.column_stack([gradient - mean for gradient, mean in zip(gradients, means, strict=True)])
    changes = counts @ deviations.astype(np.float32) / len(deviations)
    return [mean / order + change.astype(np.float64) for mean, change in zip(means, changes.T, strict=True)]


def normalized_form(form: Reals | float, first: Reals | float, second: Reals | float) -> Reals:
    """The quotient form / sqrt(first * second), NaN where either is 0."""
    product = np.maximum(np.asarray(first) * np.asarray(second), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Reals = np.where(product > 0, np.asarray(form) / np.sqrt(product), np.nan)
    return found


def untied(a: Ranks) -> Reals:
    """The fraction of all architectures that each does not tie with."""
    fraction: Reals = 1 - a.equal / len(a.code)
    return fraction


def product_gradient(a: Ranks, b: Ranks) -> Reals:
    """The gradient of sum_i p_i f(x_i) g(y_i) by each p_i, at equal weights; its mean is three times the form."""
    f, g = a.centred, b.centred
    gradient: Reals = f * g + carried(a, g) + carried(b, f)
    return gradient


def carried(a: Ranks, g: Reals) -> Reals:
    """Of each i the mean over j of g_j times (1, 1/2 or 0 for x_j above, at or below x_i); g has mean 0."""
    sums = np.bincount(a.code, weights=g)
    above: Reals = (0.5 * sums - np.cumsum(sums))[a.code] / len(g)
    return above


def concordance(a: Ranks, b: Ranks) -> Reals:
    """The mean over all j of s(x_i - x_j) s(y_i - y_j), of each i, in O(n log n)."""
    n = len(a.code)
    order = np.argsort(a.below, kind="stable")
    column = np.empty(n, dtype=np.int64)
    column[np.argsort(b.below, kind="stable")] = np.arange(
        n
    )  # y's ranks without ties: which of equals is first is moot
    left, right = a.below, a.below + a.equal
    low, high = b.below, b.below + b.equal
    ends, bounds = np.concatenate([left, left, right, right]), np.concatenate([low, high, low, high])
    both_less, less_up_to, up_to_less, both_up_to = count_smaller(column[order], ends, bounds).reshape(4, n)
    # of the pairs of signs: (-, -) - (-, +) - (+, -) + (+, +)
    signed = both_less - (left - less_up_to) - (low - up_to_less) + (n - right - high + both_up_to)
    mean: Reals = signed / n
    return mean


def count_smaller(values: Integers, ends: Integers, bounds: Integers) -> Integers:
    """How many of `values[:end]` are less than `bound`, for each pair of them; values are a permutation of 0..n-1.

    A wavelet matrix (Claude, Navarro, Ordonez. Information Systems 47, 2015): from the highest bit to the lowest, those
    with a 0 move to the front in order, and the prefix in question is followed.
    """
    starts, found = np.zeros_like(ends), np.zeros_like(ends)
    for bit in reversed(range(len(values).bit_length())):
        ones = (values >> bit) & 1
        zeros = np.concatenate([[0], np.cumsum(1 - ones)])
        go_right = (bounds >> bit) & 1 == 1
        found += np.where(go_right, zeros[ends] - zeros[starts], 0)
        starts, ends = (np.where(go_right, zeros[-1] + at - zeros[at], zeros[at]) for at in (starts, ends))
        values = values[np.argsort(ones, kind="stable")]
    return found
