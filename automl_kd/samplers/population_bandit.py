"""PB2: new values for a member of a population, from a Gaussian process of what values have gained so far.

Parker-Holder, Nguyen, Roberts. Provably Efficient Online Hyperparameter Optimization with Population-Based Bandits.
2020. arXiv:2002.02518: a time-varying Gaussian process over rounds and values, (1 - epsilon)^(|t - t'| / 2)
times a squared exponential; its target is the gain in score of a round; the next values maximise an upper confidence
bound in which the values chosen beside them count as tried (their gains unknown, their variance gone).

As in the authors' code the score before a round stands beside the values, and beta = 0.2 + log(0.4 n). Unlike there,
the bound is maximised over `BANDIT_CANDIDATES` random points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from automl_kd.samplers.population import HyperparameterValues, Ranges, draw_value, from_unit, to_unit

BANDIT_CANDIDATES = 1000
NEWEST = 200
"""So many observations, the newest, are looked at."""

Vector = np.ndarray[tuple[int], np.dtype[np.float64]]
Matrix = np.ndarray[tuple[int, int], np.dtype[np.float64]]


@dataclass(frozen=True)
class Gain:
    """What the values `knobs` gained in score per epoch, in a round of which it was `before` at the start."""

    round: int
    before: float
    hyperparameters: HyperparameterValues
    gain: float


def choose_values(
    gains: Sequence[Gain],
    ranges: Ranges,
    *,
    coming: int,
    before: float,
    chosen: Sequence[HyperparameterValues],
    rng: np.random.Generator,
) -> dict[str, float]:
    """Values for weights whose score is `before`, for the round `coming`; drawn if fewer than two gains are known."""
    if len(gains) < 2:
        return {name: draw_value(domain, rng) for name, domain in ranges.items()}
    gains = gains[-NEWEST:]
    scores = [one.before for one in gains]
    low, span = min(scores), max(max(scores) - min(scores), 1e-9)

    def point(number: int, before: float, shares: Sequence[float]) -> list[float]:
        return [number, (before - low) / span, *shares]

    def shares(hyperparameters: HyperparameterValues) -> list[float]:
        return [to_unit(domain, hyperparameters[name]) for name, domain in ranges.items()]

    known = np.array([point(one.round, one.before, shares(one.hyperparameters)) for one in gains])
    y = np.array([one.gain for one in gains])
    y = (y - y.mean()) / (y.std() + 1e-8)
    kernel = fit_bandit_kernel(known, y)
    candidates = rng.random((BANDIT_CANDIDATES, len(ranges)))
    asked = np.array([point(coming, before, one) for one in candidates.tolist()])
    tried = np.array([*known.tolist(), *(point(coming, before, shares(one)) for one in chosen)])
    beta = 0.2 + max(0.0, math.log(0.4 * len(gains)))
    bound = posterior_mean(kernel, known, y, asked) + math.sqrt(beta) * deviation(kernel, tried, asked)
    best = candidates[int(bound.argmax())]
    return {name: from_unit(domain, float(share)) for (name, domain), share in zip(ranges.items(), best, strict=True)}


@dataclass(frozen=True)
class Kernel:
    """Of rows (round, then what is compared by distance); variance 1."""

    length: float
    epsilon: float
    noise: float

    def __call__(self, one: Matrix, two: Matrix) -> Matrix:
        rounds = np.abs(one[:, None, 0] - two[None, :, 0])
        squares = np.square(one[:, None, 1:] - two[None, :, 1:]).sum(axis=2)
        found: Matrix = (1 - self.epsilon) ** (rounds / 2) * np.exp(-squares / (2 * self.length**2))
        return found

    def with_noise(self, one: Matrix) -> Matrix:
        found: Matrix = self(one, one) + self.noise * np.eye(len(one))
        return found


def kernel_of(theta: Vector) -> Kernel:
    """From unbounded numbers: length above 0, epsilon in (0, 1/2), noise above 0.0001."""
    return Kernel(math.exp(theta[0]), 0.5 / (1 + math.exp(-theta[1])), 1e-4 + math.exp(theta[2]))


def fit_bandit_kernel(x: Matrix, y: Vector) -> Kernel:
    """The kernel of the highest marginal likelihood that is found from three lengths, epsilon 0.1 and noise 0.1."""

    def loss(theta: Vector) -> float:
        factor = cho_factor(kernel_of(theta).with_noise(x), lower=True)
        return float(0.5 * y @ cho_solve(factor, y) + np.log(np.diag(factor[0])).sum())

    from scipy.optimize import minimize  # noqa: PLC0415 - takes a third of a second, and few searches need it

    starts = [np.array([math.log(length), math.log(0.1 / 0.4), math.log(0.1)]) for length in (0.1, 0.3, 1.0)]
    tries = [minimize(loss, start, method="L-BFGS-B", bounds=[(-3, 3), (-6, 6), (-7, 2)]) for start in starts]
    return kernel_of(min(tries, key=lambda one: float(one.fun)).x)


def posterior_mean(kernel: Kernel, x: Matrix, y: Vector, asked: Matrix) -> Vector:
    found: Vector = kernel(asked, x) @ cho_solve(cho_factor(kernel.with_noise(x), lower=True), y)
    return found


def deviation(kernel: Kernel, x: Matrix, asked: Matrix) -> Vector:
    across = kernel(asked, x)
    explained = cho_solve(cho_factor(kernel.with_noise(x), lower=True), across.T)
    left: Vector = np.sqrt(np.maximum(1 - (across * explained.T).sum(axis=1), 1e-12))
    return left
