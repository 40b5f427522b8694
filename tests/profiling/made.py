"""A device that is made up: what an operator takes on it is known, and networks take what their operators do."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from automl_kd.models import load_space
from automl_kd.profiling import DeviceProfile, ProfilePlan
from automl_kd.profiling.operator_times import OperatorTimes
from automl_kd.profiling.operators import Operator, list_operators
from automl_kd.profiling.predictor import fit_networks
from automl_kd.profiling.preparing import draw_networks
from automl_kd.profiling.tracing import trace_architecture
from automl_kd.space import Architecture, SearchSpace
from tests import tiny

TINY = ProfilePlan(space="tests.tiny:SPACE", shape=tiny.SHAPE, networks=6)


def operators_of(space: SearchSpace, architecture: Architecture, plan: ProfilePlan) -> list[Operator]:
    return [one.operator for one in list_operators(trace_architecture(space, architecture, plan.shape, plan.batch))]


def true_ms(operator: Operator) -> float:
    """A microsecond for each, and what is multiplied and moved at rates of the kind."""
    rate = 2.0 if operator.kind == "depthwise" else 1.0
    moved = operator.entering + operator.leaving + operator.weights
    return 1e-3 + rate * 1e-8 * operator.macs + 2e-7 * moved


def network_ms(operators: Sequence[Operator]) -> float:
    return 0.02 + sum(map(true_ms, operators))


def timing(ms: float) -> dict[str, float]:
    return {"median_ms": ms, "low_ms": 0.9 * ms, "high_ms": 1.1 * ms, "runs": 10}


def made_profile(plan: ProfilePlan = TINY) -> DeviceProfile:
    """As if everything had been measured on that device."""
    space = load_space(plan.space)
    drawn = draw_networks(space, plan.networks, plan.seed)
    layers = [operators_of(space, one, plan) for one in drawn]
    distinct = sorted({operator for operators in layers for operator in operators})
    times = OperatorTimes({one: true_ms(one) for one in distinct}, "a made-up phone")
    weights, error = fit_networks(layers, np.array([network_ms(one) for one in layers]), times)
    return DeviceProfile(
        plan=plan,
        device="a made-up phone",
        runtime="onnxruntime",
        runtime_version="1.32.0",
        threads=plan.threads,
        date="2026-01-01T00:00:00+00:00",
        load=0.1,
        operators=[(one, timing(true_ms(one))) for one in distinct],
        networks=[(one, timing(network_ms(held))) for one, held in zip(drawn, layers, strict=True)],
        predictor=weights,
        held_out=error,
    )


def write_profile(path: Path, **changes) -> DeviceProfile:
    profile = made_profile(dataclasses.replace(TINY, **changes))
    profile.write(path)
    return profile
