"""Checks of the budget: some student of the space meets it, and the baseline does."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from automl_kd import space
from automl_kd.config import Budget
from automl_kd.errors import ConfigError
from automl_kd.experiment.context import ExperimentContext
from automl_kd.models.costs.affordable import find_affordable
from automl_kd.space import Architecture

BUDGET_DRAWS = 500
"""Number of random architectures that are tried before a budget counts as met by none."""

WORDS = {
    "params": "{:,} parameters",
    "non_embedding_params": "{:,} parameters beside embeddings",
    "macs": "{:,} multiply-adds",
    "latency_ms": "a latency of {:.3g} ms",
}
"""The limits, by the names of their fields."""


def require_feasible_budget(context: ExperimentContext) -> None:
    """Raise `ConfigError` for a budget that no student meets, of many and the default one, with the nearest cost."""
    rng = np.random.default_rng(context.experiment.seed)
    candidates = [space.sample_architecture(context.space, rng) for _ in range(BUDGET_DRAWS)]
    if not any(map(context.within_budget, [context.baseline, *candidates])):
        require_known_latency(context)
        raise ConfigError(
            f"none of {BUDGET_DRAWS} architectures of {context.space.name!r} meets the budget: "
            f"{shortfall(context, candidates)}; raise [budget] or widen the space"
        )
    points = (space.sample_architecture(context.searched, rng) for _ in range(BUDGET_DRAWS))
    if context.experiment.hyperparameters and not any(map(context.allowed, points)):
        raise ConfigError(
            f"none of {BUDGET_DRAWS} points of [hyperparameters] can be tried: their methods refuse their options "
            "together or no loss is left in a sum; allow other values"
        )


def require_known_latency(context: ExperimentContext) -> None:
    """`ConfigError` where it is the profile of the device that knows nothing of such students."""
    if context.experiment.budget.latency_ms and context.device_profile is not None:
        context.latency_ms(context.baseline)


def shortfall(context: ExperimentContext, candidates: Sequence[Architecture]) -> str:
    """Which limits none of `candidates` keeps, with the least that there is; if each is kept by some, that."""
    limits = limits_of(context.experiment.budget)
    costs = [costs_of(context, one) for one in candidates]
    least = {name: min((cost[name] for cost in costs if name in cost), default=0.0) for name in limits}
    broken = [name for name, limit in limits.items() if least[name] > limit]
    if not broken:
        return f"each of {describe(limits)} is kept by some, all together by none"
    phrases = [
        f"{describe({name: limits[name]})}, where the least is {WORDS[name].format(least[name])}" for name in broken
    ]
    return " and ".join(phrases)


def find_default(context: ExperimentContext) -> Architecture:
    """The student that one would take for these limits without a search."""
    limits = limits_of(context.experiment.budget)

    def excess(architecture: Architecture) -> float:
        cost = context.cost(architecture)
        counted = max((getattr(cost, name) / limits[name] for name in ("params", "macs") if name in limits), default=0)
        if counted > 1 or "latency_ms" not in limits:
            return counted
        try:
            return max(counted, context.latency_ms(architecture) / limits["latency_ms"])
        except ConfigError:  # a layer that is like none that the profile knows
            return math.inf

    return find_affordable(context.space, excess)


def with_default_within(context: ExperimentContext) -> ExperimentContext:
    """The context with a default student within the budget; `ConfigError` where there is none, or it is refused."""
    context = with_affordable_default(context)
    require_feasible_budget(context)
    check_baseline(context)
    return context


def with_affordable_default(context: ExperimentContext) -> ExperimentContext:
    """The context with a default student within the limits where none is named and the space's is over them.

    A latency that is measured here anew in each session is none of these: the default must stay the same.
    """
    experiment, known = context.experiment, context.device_profile is not None
    if experiment.finalists.baseline or not context.space.parameters:
        return context
    limits = experiment.budget if known else dataclasses.replace(experiment.budget, latency_ms=0.0)
    limited = dataclasses.replace(context, experiment=dataclasses.replace(experiment, budget=limits))
    if limited.within_budget(context.baseline):
        return context
    found = find_default(limited)
    label, over = context.space.label(found), context.space.label(context.baseline)
    context.watcher.note(f"the default student {over} is over the budget; {label} stands in its place")
    finalists = dataclasses.replace(experiment.finalists, baseline=found.as_dict())
    return dataclasses.replace(context, experiment=dataclasses.replace(experiment, finalists=finalists))


def check_baseline(context: ExperimentContext) -> None:
    """Raise `ConfigError` for a baseline outside the space or over the budget: the comparison would be unequal."""
    space.check_architecture(context.space, context.baseline)
    if not context.within_budget(context.baseline):
        limits, costs = limits_of(context.experiment.budget), costs_of(context, context.baseline)
        over = {name: limit for name, limit in limits.items() if costs.get(name, 0.0) > limit}
        costs_over = " and ".join(WORDS[name].format(costs[name]) for name in over)
        raise ConfigError(
            f"the baseline student {context.space.label(context.baseline)} has {costs_over}, over the budget "
            f"({describe(over)}); "
            "raise [budget] or name a smaller finalists.baseline"
        )


def costs_of(context: ExperimentContext, architecture: Architecture) -> Mapping[str, float]:
    """By the names of limits; the latency where it was measured, as it is for those that keep the other limits."""
    cost, limits = context.cost(architecture), limits_of(context.experiment.budget)
    beside = "non_embedding_params"
    counted = {beside: context.non_embedding_params(architecture)} if beside in limits else {}
    measured = {"latency_ms": context.latencies[architecture]} if architecture in context.latencies else {}
    return {"params": cost.params, "macs": cost.macs, **counted, **measured}


def limits_of(budget: Budget) -> Mapping[str, float]:
    return {name: getattr(budget, name) for name in WORDS if getattr(budget, name)}


def describe(limits: Mapping[str, float]) -> str:
    return ", ".join(f"{name} <= {limit:,}" for name, limit in limits.items())
