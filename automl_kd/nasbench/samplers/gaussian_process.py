"""Bayesian optimisation with a Gaussian process on a table, for all seeds at once.

Jones, Schonlau, Welch. Efficient Global Optimization of Expensive Black-Box Functions. 1998,
doi:10.1023/A:1008306431147. Rasmussen, Williams. Gaussian Processes for Machine Learning. 2006, chapters 2 and 5.

The kernel is exp(-h / scale) in the number h of edges with different operations; a product over edges, hence positive
definite. Answers are replaced by normal scores of their ranks, since a few accuracies near chance would otherwise set
the scale. The length scale and the noise with the highest marginal likelihood of a small grid are taken, anew from time
to time. Expected improvement is maximised over random candidates and the neighbours of the best. Optuna's GP sampler
fits a length scale for each parameter and takes some tenths of a second for a proposal; hundreds of seeds need less.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from automl_kd.nasbench.samplers.batched_session import BatchedSession
from automl_kd.nasbench.samplers.draws import Integers, Reals
from automl_kd.nasbench.samplers.tpe import one_hot
from automl_kd.spec import require

SCALES, NOISES = (1.0, 2.0, 4.0, 8.0), (0.01, 0.1)
NEAR = 2
"""The neighbours of so many best are candidates."""


@dataclass(frozen=True, kw_only=True)
class GaussianProcess:
    """Expected improvement under a Gaussian process (Jones et al. 1998, doi:10.1023/A:1008306431147).

    `startup`: random trials before, at least 2; `candidates`: random ones for each proposal; `refit`: trials between
    two choices of scale and noise.
    """

    startup: int = 10
    candidates: int = 128
    refit: int = 10

    def __post_init__(self) -> None:
        require(self.startup >= 2, "startup must be 2 or more")
        require(min(self.candidates, self.refit) >= 1, "candidates and refit must be 1 or more")

    def run(self, session: BatchedSession) -> None:
        rows = np.zeros((len(session.lanes), session.queries), dtype=np.int64)
        values = np.zeros(rows.shape)
        scale = noise = np.zeros(0)
        fitted = -self.refit
        while session.open:
            step = session.step
            if step < max(self.startup, session.guidance.warm):
                rows[:, step] = session.fresh()
            else:
                asked, scores = rows[:, :step], normal_scores(values[:, :step])
                if step - fitted >= self.refit:
                    (scale, noise), fitted = fit_kernel(session, asked, scores), step
                rows[:, step] = session.prefer(self.proposals(session, asked, scores, scale, noise))
            values[:, step] = session.query(rows[:, step])

    def proposals(
        self, session: BatchedSession, asked: Integers, scores: Reals, scale: Reals, noise: Reals
    ) -> Integers:
        """Candidates with the highest expected improvement, best first, as many as the session wants."""
        top = np.take_along_axis(asked, np.argsort(-scores, axis=1, kind="stable")[:, :NEAR], axis=1)
        near = session.bench.neighbours[top].reshape(len(top), -1)
        anywhere = session.integers("candidates", len(session.bench), self.candidates)
        candidates = np.concatenate([near, anywhere], axis=1)
        mean, variance = posterior(session, asked, scores, candidates, scale, noise)
        gain = expected_improvement(mean, variance, scores.max(axis=1))
        gain[session.is_known(candidates)] = -np.inf
        best = np.argsort(-gain, axis=1, kind="stable")[:, : session.width]
        return np.take_along_axis(candidates, best, axis=1)


def normal_scores(values: Reals) -> Reals:
    """Ranks as quantiles of the normal distribution, along the last axis; the earlier of equals is the lower."""
    ranks = np.argsort(np.argsort(values, axis=1, kind="stable"), axis=1, kind="stable")
    scores: Reals = ndtri((ranks + 0.5) / values.shape[1])
    return scores


def edge_distances(session: BatchedSession, some: Integers, others: Integers) -> Reals:
    """Edges in which architectures differ: (seeds, n), (seeds, m) to (seeds, n, m)."""
    encodings, operations = session.bench.encodings, session.bench.operations
    matches = one_hot(encodings[some], operations) @ one_hot(encodings[others], operations).transpose(0, 2, 1)
    different: Reals = encodings.shape[1] - matches.astype(np.float64)
    return different


def fit_kernel(session: BatchedSession, asked: Integers, scores: Reals) -> tuple[Reals, Reals]:
    """For each seed the scale and the noise of the grid with the highest marginal likelihood."""
    apart, identity = edge_distances(session, asked, asked), np.eye(asked.shape[1])
    pairs = [(scale, noise) for scale in SCALES for noise in NOISES]
    likelihood = np.stack(
        [log_likelihood(np.exp(-apart / scale) + noise * identity, scores) for scale, noise in pairs], axis=1
    )
    best = np.array(pairs)[likelihood.argmax(axis=1)]
    return best[:, 0], best[:, 1]


def log_likelihood(covariance: Reals, scores: Reals) -> Reals:
    """Of `scores` (seeds, n) under normal distributions, up to a constant (Rasmussen and Williams, eq. 5.8)."""
    root = np.linalg.cholesky(covariance)
    explained = np.linalg.solve(covariance, scores[:, :, None])[:, :, 0]
    half_log_determinant = np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
    found: Reals = -0.5 * (scores * explained).sum(axis=1) - half_log_determinant
    return found


def posterior(
    session: BatchedSession, asked: Integers, scores: Reals, candidates: Integers, scale: Reals, noise: Reals
) -> tuple[Reals, Reals]:
    """Mean and variance at the candidates, (seeds, candidates) each (Rasmussen and Williams, eq. 2.25 and 2.26)."""
    width = scale[:, None, None]
    covariance = np.exp(-edge_distances(session, asked, asked) / width) + noise[:, None, None] * np.eye(asked.shape[1])
    across = np.exp(-edge_distances(session, candidates, asked) / width)
    inverse = np.linalg.inv(covariance)
    mean = (across @ (inverse @ scores[:, :, None]))[:, :, 0]
    variance = 1 - ((across @ inverse) * across).sum(axis=2)
    return mean, np.maximum(variance, 1e-12)


def expected_improvement(mean: Reals, variance: Reals, best: Reals) -> Reals:
    """Over `best` of each seed."""
    deviation = np.sqrt(variance)
    z = (mean - best[:, None]) / deviation
    gain: Reals = deviation * (z * ndtr(z) + np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi))
    return gain
