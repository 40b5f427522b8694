"""What a trial will cost, asked of the trial itself."""

from __future__ import annotations

import dataclasses
from contextlib import suppress

from automl_kd.errors import ConfigError, StopTrial
from automl_kd.experiment.context import ExperimentContext
from automl_kd.experiment.sentences import in_a_sentence
from automl_kd.methods import run_trial
from automl_kd.methods.base import CostEstimate
from automl_kd.spec import TrialSpec


def quoted(lab: ExperimentContext, spec: TrialSpec) -> float:
    """Multiply-adds of one epoch, by the trial's own account; about a second, once for trials that differ in seed.

    Its teacher must have been trained.
    """
    same = dataclasses.replace(spec, seed=0)
    if same.key not in lab.quotes:
        quote = CostEstimate()
        with suppress(StopTrial), in_a_sentence(f"networks of method {spec.method!r}", lab.dataset.shape):
            run_trial(same, quote, lab.place(same, "cpu"))
        if not quote.epoch_macs > 0:
            raise ConfigError(
                f"method {spec.method!r} did not say what an epoch costs; let it report train_macs, or train by "
                "automl_kd.methods.base.train"
            )
        lab.quotes[same.key] = quote.epoch_macs
    return lab.quotes[same.key]
