"""Latencies that are known are predicted, and what is like nothing known is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from automl_kd.errors import ConfigError
from automl_kd.models import load_space
from automl_kd.profiling import ProfilePlan
from automl_kd.profiling.operator_times import KindTimes, OperatorTimes
from automl_kd.profiling.operators import Operator
from automl_kd.profiling.predictor import HeldOutError, fit_weights, rank_correlation
from automl_kd.space import InputShape, sample_architecture
from tests.profiling.made import made_profile, network_ms, operators_of, true_ms

RESNETS = ProfilePlan(space="search_spaces.resnet:SPACE", shape=InputShape(3, 16, 16, 10), networks=20)


def pointwise(inputs: int, outputs: int, side: int = 8) -> Operator:
    macs = inputs * outputs * side**2
    shapes = ((1, inputs, side, side),), (1, outputs, side, side)
    return Operator("pointwise", *shapes, kernel=1, stride=1, weights=inputs * outputs, macs=macs)


MEASURED = [pointwise(inputs, outputs, side) for inputs in (8, 16, 32) for outputs in (8, 24, 64) for side in (4, 8)]


@pytest.fixture(scope="module")
def known() -> OperatorTimes:
    return OperatorTimes({one: true_ms(one) for one in MEASURED}, "a phone")


def test_what_was_measured_is_taken_as_it_was(known):
    assert [known.time(one) for one in MEASURED] == [true_ms(one) for one in MEASURED]


def test_what_was_not_measured_lies_near_what_it_takes(known):
    for one in (pointwise(24, 24), pointwise(16, 40, 6), pointwise(32, 64, 12), pointwise(12, 64, 4)):
        assert known.time(one) == pytest.approx(true_ms(one), rel=0.05)


def test_like_operators_correct_the_fit():
    # all of 32 channels take twice as long as the sizes say
    times = np.array([true_ms(one) * (2 if one.inputs[0][1] == 32 else 1) for one in MEASURED])
    kind = KindTimes.fit(MEASURED, times)
    near, far = pointwise(32, 32), pointwise(8, 12)
    assert kind.estimate(near) / true_ms(near) > 1.4
    assert kind.estimate(far) / true_ms(far) < 1.2


def test_what_is_like_nothing_is_refused(known):
    with pytest.raises(ConfigError, match="of a phone holds no operator of the kind, for a layer 'softmax'"):
        known.time(Operator("softmax", ((1, 8),), (1, 8)))
    with pytest.raises(ConfigError, match=r"no operator a quarter as large \(1x64x32x32 numbers put out\)"):
        known.time(pointwise(32, 64, 32))


def test_weights_of_kinds_and_times_beside_them_are_found():
    rng = np.random.default_rng(0)
    sums = np.concatenate([rng.uniform(1, 5, (200, 2)), rng.integers(5, 50, (200, 1))], axis=1)
    measured = sums @ np.array([0.5, 2.0, 0.01]) + 0.3
    found = fit_weights(["conv", "linear"], sums, measured)
    # within what the one row of expected weights draws them by
    assert found.kinds == pytest.approx({"conv": 0.5, "linear": 2.0}, rel=0.05)
    assert found.combine({"conv": 2.0, "linear": 1.0}, 10) == pytest.approx(0.5 * 2 + 2.0 + 0.1 + 0.3, rel=0.05)
    assert found.combine({"gelu": 3.0}, 0) == pytest.approx(3.0 + found.pass_ms)  # of no measured network: 1


def test_networks_of_another_draw_are_predicted():
    profile, space = made_profile(RESNETS), load_space(RESNETS.space)
    rng = np.random.default_rng(99)
    drawn = [sample_architecture(space, rng) for _ in range(20)]
    predicted = np.array([profile.predict(space, one, RESNETS.shape) for one in drawn])
    measured = np.array([network_ms(operators_of(space, one, RESNETS)) for one in drawn])
    error = HeldOutError.of(predicted, measured)
    assert error.spearman > 0.99
    assert error.median_error < 0.03
    assert profile.held_out.networks == 20
    assert profile.held_out.median_error < 0.03


def test_one_network_alone_can_be_profiled():
    plan = dataclasses.replace(RESNETS, space="model:resnet8", networks=5)
    profile = made_profile(plan)
    assert len(profile.networks) == 1
    space = load_space(plan.space)
    expected = profile.networks[0][1]["median_ms"]
    assert profile.predict(space, profile.networks[0][0], plan.shape) == pytest.approx(expected, rel=0.1)


def test_ranks_by_hand():
    # differences of ranks 0, 1, 1, 0: 1 - 6 * 2 / (4 * 15)
    assert rank_correlation(np.array([1.0, 2.0, 3.0, 9.0]), np.array([1.0, 5.0, 4.0, 6.0])) == pytest.approx(0.8)
    assert rank_correlation(np.array([1.0, 1.0]), np.array([1.0, 2.0])) == 0.0
    found = HeldOutError.of(np.array([1.1, 2.0, 2.4]), np.array([1.0, 2.0, 3.0]))
    assert found.networks == 3
    assert [found.spearman, found.median_error, found.largest_error] == pytest.approx([1.0, 0.1, 0.2])
