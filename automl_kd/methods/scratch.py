"""Ordinary training on the labels: the baseline without a teacher, and how teachers themselves are trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from automl_kd.data import Batch
from automl_kd.losses.cross_entropy import label_loss
from automl_kd.methods.base import STEP, CostEstimate, train
from automl_kd.spec import Report, TrialPaths, TrialSpec
from automl_kd.training.trial import prepare_trial


@dataclass(frozen=True)
class Scratch:
    """Cross entropy on the labels; no teacher."""

    needs_teacher: ClassVar[bool] = False
    any_task: ClassVar[bool] = True

    def macs(self, student: int, teacher: int) -> int:  # noqa: ARG002 - there is no teacher
        return STEP * student

    def cost(self, spec: TrialSpec, paths: TrialPaths) -> CostEstimate:
        context = prepare_trial(spec, paths)
        return CostEstimate.of(context, self.macs(context.training_macs, 0))

    def __call__(self, spec: TrialSpec, report: Report, paths: TrialPaths) -> None:
        context = prepare_trial(spec, paths)

        def objective(batch: Batch) -> Mapping[str, Tensor]:
            logits = context.student(batch.inputs)
            return {"ce": label_loss(logits, batch, spec.recipe.loss, spec.recipe.label_smoothing)}

        train(context, objective, report, macs_per_image=self.macs(context.training_macs, 0))
