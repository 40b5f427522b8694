"""PB2's choice: the same process as scikit-learn's, and values near those that gained most."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, Matern

from automl_kd.samplers.population_bandit import (
    Gain,
    Kernel,
    choose_values,
    deviation,
    fit_bandit_kernel,
    posterior_mean,
)
from automl_kd.space import FloatRange

RANGES = {"x": FloatRange(0.0, 10.0), "y": FloatRange(0.001, 1.0, log=True)}


def test_the_kernel_by_hand():
    # two rounds apart: 0.9 ** (2 / 2); points at distance 1, length 1: exp(-1/2)
    one, two = np.array([[0.0, 0.0, 0.0]]), np.array([[2.0, 1.0, 0.0]])
    assert Kernel(1.0, 0.1, 0.0)(one, two)[0, 0] == pytest.approx(0.9 * math.exp(-0.5))


def test_mean_and_deviation_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    x, asked, y = rng.random((12, 3)), rng.random((7, 3)), rng.normal(size=12)
    x[:, 0], asked[:, 0] = rng.integers(0, 4, 12), 4
    ours = Kernel(0.7, 0.2, 0.05)
    # (1 - epsilon)^(t / 2) is a Matern kernel of nu 1/2; a length of 1e6 takes a dimension out
    rate = 2 / -math.log(1 - ours.epsilon)
    theirs = Matern([rate, 1e6, 1e6], nu=0.5) * RBF([1e6, ours.length, ours.length])
    process = GaussianProcessRegressor(theirs, alpha=ours.noise, optimizer=None).fit(x, y)
    expected = process.predict(asked, return_std=True)
    np.testing.assert_allclose(posterior_mean(ours, x, y, asked), expected[0], rtol=1e-4)
    np.testing.assert_allclose(deviation(ours, x, asked), expected[1], rtol=1e-4)


def test_the_fitted_kernel_is_likelier_than_where_the_fit_began():
    rng = np.random.default_rng(1)
    x = np.column_stack([np.zeros(40), np.linspace(0, 1, 40)])
    y = np.sin(12 * x[:, 1]) + 0.01 * rng.normal(size=40)

    def loss(kernel: Kernel) -> float:
        covariance = kernel.with_noise(x)
        return float(0.5 * y @ np.linalg.solve(covariance, y) + 0.5 * np.linalg.slogdet(covariance)[1])

    found = fit_bandit_kernel(x, y)
    assert loss(found) < loss(Kernel(1.0, 0.1, 0.1)) - 1
    assert found.noise < 0.01


def gains(count: int) -> list[Gain]:
    """The gain is highest at x = 7 and y = 0.03, whatever the round."""
    rng = np.random.default_rng(2)
    found = []
    for index in range(count):
        x, exponent = float(rng.uniform(0, 10)), float(rng.uniform(-3, 0))
        gain = math.exp(-((x - 7) ** 2) / 4 - (exponent + 1.5) ** 2)
        found.append(Gain(1 + index // 8, 0.5, {"x": x, "y": 10**exponent}, gain))
    return found


def test_values_are_chosen_near_those_that_gained_most():
    chosen = [
        choose_values(gains(60), RANGES, coming=8, before=0.5, chosen=(), rng=np.random.default_rng(seed))
        for seed in range(5)
    ]
    for one in chosen:
        assert abs(one["x"] - 7) < 2
        assert abs(math.log10(one["y"]) + 1.5) < 0.75


def test_values_chosen_beside_each_other_differ():
    rng = np.random.default_rng(0)
    known = gains(24)
    first = choose_values(known, RANGES, coming=4, before=0.5, chosen=(), rng=rng)
    apart = choose_values(known, RANGES, coming=4, before=0.5, chosen=[first] * 4, rng=np.random.default_rng(0))
    assert abs(first["x"] - apart["x"]) + abs(math.log10(first["y"] / apart["y"])) > 0.05


def test_with_nothing_to_learn_from_values_are_drawn_within_their_ranges():
    drawn = [
        choose_values((), RANGES, coming=1, before=0.5, chosen=(), rng=np.random.default_rng(seed))["x"]
        for seed in range(99)
    ]
    assert len(set(drawn)) == 99
    assert min(drawn) < 1
    assert max(drawn) > 9
