"""Cost estimates of trials, from their methods."""

from __future__ import annotations

import dataclasses

from automl_kd.errors import ConfigError
from automl_kd.experiment.context import ExperimentContext
from automl_kd.experiment.sentences import in_a_sentence
from automl_kd.methods import estimate_cost
from automl_kd.spec import TrialSpec


def estimate_epoch_macs(context: ExperimentContext, spec: TrialSpec) -> float:
    """Multiply-adds of one epoch of the trial; about a second, once for trials that differ in seed.

    Its teacher must have been trained.
    """
    same = dataclasses.replace(spec, seed=0)
    if same.key not in context.cost_estimates:
        with in_a_sentence(f"networks of method {spec.method!r}", context.dataset.shape):
            estimate = estimate_cost(same, context.trial_paths(same, "cpu"))
        if not estimate.epoch_macs > 0:
            raise ConfigError(
                f"method {spec.method!r} estimates {estimate.epoch_macs:g} multiply-adds for an epoch; let its "
                "`cost`, or without one its `macs`, return what a training takes"
            )
        context.cost_estimates[same.key] = estimate.epoch_macs
    return context.cost_estimates[same.key]
